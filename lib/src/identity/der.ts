/** The little of DER that a certificate signing request needs. */

export type Der = Uint8Array;

export function sequence(...parts: readonly Der[]): Der {
  return element(0x30, ...parts);
}

export function set(...parts: readonly Der[]): Der {
  return element(0x31, ...parts);
}

/** Dotted text, first arc 0 to 2. */
export function objectIdentifier(text: string): Der {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const groups = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return element(0x06, Uint8Array.from(bytes));
}

export function octetString(content: Der): Der {
  return element(0x04, content);
}

export function bitString(content: Uint8Array): Der {
  return element(0x03, Uint8Array.of(0), content);
}

export const INTEGER_ZERO: Der = Uint8Array.of(0x02, 0x01, 0x00);
export const TRUE: Der = Uint8Array.of(0x01, 0x01, 0xff);

/** One element of any tag around its content. */
export function element(tag: number, ...parts: readonly Uint8Array[]): Der {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([Uint8Array.of(tag, ...lengthBytes(length)), ...parts]);
}

function lengthBytes(length: number): number[] {
  if (length < 0x80) return [length];
  const bytes: number[] = [];
  for (let left = length; left > 0; left >>>= 8) bytes.unshift(left & 0xff);
  return [0x80 | bytes.length, ...bytes];
}
