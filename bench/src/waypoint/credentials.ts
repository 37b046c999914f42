/** What TLS and tokens need, made new for every run. */
import { execFileSync } from "node:child_process";
import { generateKeyPairSync, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

export const ISSUER = "https://issuer.bench";

export interface Credentials {
  readonly certificate: string;
  readonly key: string;
  readonly certificateFile: string;
  readonly keyFile: string;
  /** Key and certificate in one file, as HAProxy wants them. */
  readonly bundle: string;
  readonly jwks: string;
  readonly token: string;
}

const TOKEN_LIFE_S = 3600;

/** ECDSA P-256 for TLS, RSA with SHA-256 for tokens: what is usual for each. */
export function makeCredentials(folder: string): Credentials {
  const certificateFile = join(folder, "cert.pem");
  const keyFile = join(folder, "key.pem");
  const subject = ["-subj", "/CN=bench", "-addext", "subjectAltName=DNS:bench,IP:127.0.0.1"];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  execFileSync("openssl", ["req", "-x509", ...curve, ...subject, "-keyout", keyFile, "-out", certificateFile], {
    stdio: "ignore",
  });
  const certificate = readFileSync(certificateFile, "utf8");
  const key = readFileSync(keyFile, "utf8");
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const jwk = { ...publicKey.export({ format: "jwk" }), kid: "bench", alg: "RS256", use: "sig" };
  const now = Math.floor(Date.now() / 1000);
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { iss: ISSUER, sub: "client", iat: now, exp: now + TOKEN_LIFE_S };
  const signed = `${part({ alg: "RS256", kid: "bench", typ: "JWT" })}.${part(claims)}`;
  const token = `${signed}.${sign("sha256", Buffer.from(signed), privateKey).toString("base64url")}`;
  return {
    certificate,
    key,
    certificateFile,
    keyFile,
    bundle: `${certificate}${key}`,
    jwks: JSON.stringify({ keys: [jwk] }),
    token,
  };
}
