/** Service account tokens: JWTs (ES256) bound to an account and, mostly, to a pod. */
import { createPrivateKey, createPublicKey, type KeyObject, randomUUID, sign, verify } from "node:crypto";
import { isRecord, type JsonRecord } from "../api/objects.ts";

export const ISSUER = "https://kubernetes.default.svc.cluster.local";
/** The audience of the API server itself. */
export const API_AUDIENCE = ISSUER;
const KEY_ID = "weft-playground";

export interface BoundObject {
  readonly name: string;
  readonly uid: string;
}

export interface TokenSubject {
  readonly namespace: string;
  readonly account: BoundObject;
  readonly pod?: BoundObject | undefined;
  readonly node?: BoundObject | undefined;
}

export interface TokenClaims extends TokenSubject {
  readonly audiences: readonly string[];
  /** Seconds since 1970. */
  readonly expiresAt: number;
  readonly id: string;
}

export class TokenSigner {
  readonly #privateKey: KeyObject;
  readonly #publicKey: KeyObject;

  /** `key`: PEM of an EC P-256 private key. */
  constructor(key: string) {
    this.#privateKey = createPrivateKey(key);
    this.#publicKey = createPublicKey(this.#privateKey);
  }

  issue(
    subject: TokenSubject,
    audiences: readonly string[],
    lifeSeconds: number,
  ): { token: string; expiresAt: number } {
    const now = Math.floor(Date.now() / 1000);
    const expiresAt = now + lifeSeconds;
    const claims = {
      aud: audiences,
      exp: expiresAt,
      iat: now,
      nbf: now,
      iss: ISSUER,
      jti: randomUUID(),
      sub: `system:serviceaccount:${subject.namespace}:${subject.account.name}`,
      "kubernetes.io": {
        namespace: subject.namespace,
        serviceaccount: subject.account,
        ...(subject.pod === undefined ? {} : { pod: subject.pod }),
        ...(subject.node === undefined ? {} : { node: subject.node }),
      },
    };
    const head = encode({ alg: "ES256", kid: KEY_ID, typ: "JWT" });
    const body = `${head}.${encode(claims)}`;
    const signature = sign("sha256", Buffer.from(body), { key: this.#privateKey, dsaEncoding: "ieee-p1363" });
    return { token: `${body}.${signature.toString("base64url")}`, expiresAt };
  }

  /** Undefined when the token is not ours, damaged or out of time. Whether its objects still exist is not known here. */
  verify(token: string): TokenClaims | undefined {
    const [head, body, signature, ...rest] = token.split(".");
    if (head === undefined || body === undefined || signature === undefined || rest.length > 0) return undefined;
    const header = decode(head);
    if (header?.alg !== "ES256") return undefined;
    const key = { key: this.#publicKey, dsaEncoding: "ieee-p1363" as const };
    if (!verify("sha256", Buffer.from(`${head}.${body}`), key, Buffer.from(signature, "base64url"))) return undefined;
    const claims = decode(body);
    const bound = claims?.["kubernetes.io"];
    if (claims === undefined || claims.iss !== ISSUER || !isRecord(bound)) return undefined;
    const now = Date.now() / 1000;
    if (typeof claims.exp !== "number" || claims.exp <= now) return undefined;
    if (typeof claims.nbf === "number" && claims.nbf > now + 1) return undefined;
    const account = boundObject(bound.serviceaccount);
    if (account === undefined) return undefined;
    return {
      namespace: String(bound.namespace),
      account,
      pod: boundObject(bound.pod),
      node: boundObject(bound.node),
      audiences: Array.isArray(claims.aud) ? claims.aud.map(String) : [String(claims.aud)],
      expiresAt: claims.exp,
      id: String(claims.jti),
    };
  }

  /** The public key as `/openid/v1/jwks` shows it. */
  jwks(): JsonRecord {
    return { keys: [{ ...this.#publicKey.export({ format: "jwk" }), use: "sig", alg: "ES256", kid: KEY_ID }] };
  }
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function decode(part: string): JsonRecord | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function boundObject(value: unknown): BoundObject | undefined {
  return isRecord(value) ? { name: String(value.name), uid: String(value.uid) } : undefined;
}
