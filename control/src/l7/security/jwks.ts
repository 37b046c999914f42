/** Key sets of token issuers (RFC 7517). */
import { createPublicKey, type webcrypto } from "node:crypto";

/** Where a key set is to be had: an address, or an issuer that tells one (OpenID Connect discovery). */
export type JwksSource = { readonly timeoutMs: number } & ({ readonly uri: string } | { readonly issuer: string });

/** Sources with the same key are one: they are asked once, whoever wants them. */
export function sourceKey(source: JwksSource): string {
  return "uri" in source ? source.uri : `discover ${source.issuer}`;
}

/** An issuer has a handful; each is looked at for each token without a key id. */
const MAX_KEYS = 100;

/**
 * The public keys of a document, and nothing else of it: what a server sends beside them does not go to every waypoint.
 * Keys of sorts that nobody can verify with are left out.
 */
export function parseJwks(text: string): { readonly document: string } | { readonly problem: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { problem: "is not JSON" };
  }
  const list = typeof value === "object" && value !== null && "keys" in value ? value.keys : undefined;
  if (!Array.isArray(list)) return { problem: "has no list of keys" };
  if (list.length > MAX_KEYS) return { problem: `has more than ${MAX_KEYS} keys` };
  const ids = new Set<string>();
  const keys: Record<string, string>[] = [];
  for (const entry of list) {
    const key = publicKey(entry);
    if (key === undefined) continue;
    const id = `${key.kid ?? ""} ${key.kty} ${key.alg ?? ""}`;
    // Two keys of one name: which of them a token means cannot be told.
    if (key.kid !== undefined && ids.has(id)) return { problem: `has two keys with the id "${key.kid}"` };
    ids.add(id);
    keys.push(key);
  }
  if (keys.length === 0) return { problem: "has no key that can be used" };
  return { document: JSON.stringify({ keys }) };
}

const PUBLIC_PARTS: Readonly<Record<string, readonly string[]>> = {
  RSA: ["n", "e"],
  EC: ["crv", "x", "y"],
  OKP: ["crv", "x"],
  oct: ["k"],
};
const COMMON_PARTS = ["kty", "kid", "alg", "use"];
const MAX_PART = 8_192;

function publicKey(entry: unknown): Record<string, string> | undefined {
  if (typeof entry !== "object" || entry === null || Array.isArray(entry)) return undefined;
  const given = entry as Record<string, unknown>;
  const { kty } = given;
  if (typeof kty !== "string" || !Object.hasOwn(PUBLIC_PARTS, kty)) return undefined;
  if (given.use !== undefined && given.use !== "sig") return undefined;
  const parts = PUBLIC_PARTS[kty] ?? [];
  const key: Record<string, string> = {};
  for (const part of [...COMMON_PARTS, ...parts]) {
    const value = given[part];
    if (typeof value === "string" && value.length <= MAX_PART) key[part] = value;
    else if (value !== undefined || parts.includes(part)) return undefined;
  }
  return kty === "oct" || isPublicKey(key) ? key : undefined;
}

function isPublicKey(key: webcrypto.JsonWebKey): boolean {
  try {
    createPublicKey({ key, format: "jwk" });
    return true;
  } catch {
    return false;
  }
}
