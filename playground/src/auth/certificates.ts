/** X.509 certificates of a playground (RFC 5280, ECDSA P-256), written as DER by hand: node:crypto reads but does not make them. */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { ipToBytes, parseIp } from "#lib/address.ts";

export interface KeyPair {
  /** PEM. */
  readonly cert: string;
  /** PEM, PKCS #8. */
  readonly key: string;
}

export interface LeafOptions {
  readonly commonName: string;
  readonly organizations?: readonly string[];
  /** DNS names and IP addresses. */
  readonly altNames?: readonly string[];
}

const LIFE_DAYS = 365;
const DAY_MS = 86_400_000;

const OID = {
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  commonName: "2.5.4.3",
  organization: "2.5.4.10",
  basicConstraints: "2.5.29.19",
  keyUsage: "2.5.29.15",
  extendedKeyUsage: "2.5.29.37",
  subjectAltName: "2.5.29.17",
  subjectKeyId: "2.5.29.14",
  authorityKeyId: "2.5.29.35",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
} as const;

/** A new authority that signs the certificates of one playground. */
export class CertificateAuthority {
  readonly #key: KeyObject;
  readonly #subject: Buffer;
  readonly #keyId: Buffer;
  readonly cert: string;

  constructor(commonName: string) {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    this.#key = privateKey;
    this.#subject = name(commonName, []);
    this.#keyId = keyId(publicKey);
    this.cert = this.#issue(this.#subject, publicKey, [
      extension(OID.basicConstraints, sequence(boolean(true)), true),
      // keyCertSign and cRLSign.
      extension(OID.keyUsage, bitString(Buffer.from([0x06]), 1), true),
      extension(OID.subjectKeyId, octets(this.#keyId)),
    ]);
  }

  issue(options: LeafOptions): KeyPair {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const altNames = (options.altNames ?? []).map((each) => {
      const isIp = parseIp(each) !== undefined;
      return tagged(isIp ? 0x87 : 0x82, isIp ? Buffer.from(ipToBytes(each)) : Buffer.from(each));
    });
    const cert = this.#issue(name(options.commonName, options.organizations ?? []), publicKey, [
      extension(OID.basicConstraints, sequence(), true),
      // digitalSignature.
      extension(OID.keyUsage, bitString(Buffer.from([0x80]), 7), true),
      extension(OID.extendedKeyUsage, sequence(oid(OID.serverAuth), oid(OID.clientAuth))),
      ...(altNames.length === 0 ? [] : [extension(OID.subjectAltName, sequence(...altNames))]),
    ]);
    return { cert, key: privateKey.export({ type: "pkcs8", format: "pem" }).toString() };
  }

  #issue(subject: Buffer, publicKey: KeyObject, extensions: readonly Buffer[]): string {
    const serial = randomBytes(16);
    // Positive and without leading zeros, as DER wants integers.
    serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
    const algorithm = sequence(oid(OID.ecdsaWithSha256));
    const now = Date.now();
    const tbs = sequence(
      tagged(0xa0, tagged(0x02, Buffer.from([2]))),
      tagged(0x02, serial),
      algorithm,
      this.#subject,
      sequence(utcTime(new Date(now - DAY_MS)), utcTime(new Date(now + LIFE_DAYS * DAY_MS))),
      subject,
      publicKey.export({ type: "spki", format: "der" }),
      tagged(0xa3, sequence(...extensions, extension(OID.authorityKeyId, sequence(tagged(0x80, this.#keyId))))),
    );
    const der = sequence(tbs, algorithm, bitString(sign("sha256", tbs, this.#key), 0));
    const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
    return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
  }
}

function keyId(publicKey: KeyObject): Buffer {
  return createHash("sha1")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest();
}

function name(commonName: string, organizations: readonly string[]): Buffer {
  const part = (id: string, text: string) => tagged(0x31, sequence(oid(id), tagged(0x0c, Buffer.from(text))));
  return sequence(...organizations.map((each) => part(OID.organization, each)), part(OID.commonName, commonName));
}

function extension(id: string, value: Buffer, critical = false): Buffer {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), octets(value));
}

function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const bytes = length < 0x100 ? [length] : [length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, 0x80 | bytes.length, ...bytes]), content]);
}

function sequence(...parts: Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts));
}

function octets(content: Buffer): Buffer {
  return tagged(0x04, content);
}

function boolean(value: boolean): Buffer {
  return tagged(0x01, Buffer.from([value ? 0xff : 0]));
}

function bitString(content: Buffer, unusedBits: number): Buffer {
  return tagged(0x03, Buffer.concat([Buffer.from([unusedBits]), content]));
}

function utcTime(at: Date): Buffer {
  return tagged(0x17, Buffer.from(`${at.toISOString().slice(2, 19).replace(/[-:T]/g, "")}Z`));
}

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const value of rest) {
    const groups = [value & 0x7f];
    for (let left = Math.floor(value / 128); left > 0; left = Math.floor(left / 128)) {
      groups.unshift((left & 0x7f) | 0x80);
    }
    bytes.push(...groups);
  }
  return tagged(0x06, Buffer.from(bytes));
}
