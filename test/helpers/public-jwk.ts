import { generateKeyPairSync } from "node:crypto";

/** A new key of an issuer of tokens, its public half. */
export function publicJwk(kid: string): Record<string, unknown> {
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { ...publicKey.export({ format: "jwk" }), kid, alg: "ES256", use: "sig" };
}
