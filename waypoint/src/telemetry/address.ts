/** "1.2.3.4:80" and "[::1]:80" taken apart. */

export function withoutPort(address: string): string {
  const colon = address.lastIndexOf(":");
  const ip = colon === -1 ? address : address.slice(0, colon);
  return ip.startsWith("[") ? ip.slice(1, -1) : ip;
}

export function portOf(address: string): bigint | undefined {
  const digits = portText(address);
  return digits === "" ? undefined : BigInt(digits);
}

/** Empty: there is none. */
export function portText(address: string): string {
  return /:(\d+)$/.exec(address)?.[1] ?? "";
}
