/** Keys and certificates between PEM, node:crypto and WebCrypto. */
import { createPrivateKey, type KeyObject, webcrypto } from "node:crypto";
// @peculiar/x509 needs it loaded first.
import "reflect-metadata";
import * as x509 from "@peculiar/x509";

/** All keys that we make: small, fast, and what node agents ask certificates for. */
export const KEY_ALGORITHM = { name: "ECDSA", namedCurve: "P-256" } as const;

export const crypto = webcrypto as unknown as Crypto;
x509.cryptoProvider.set(crypto);

/** A private key with the algorithm that signs certificates with it. */
export interface SigningKey {
  readonly key: CryptoKey;
  readonly algorithm: webcrypto.EcdsaParams | webcrypto.Algorithm;
  readonly pem: string;
}

export async function newSigningKey(): Promise<{ signing: SigningKey; publicKey: CryptoKey }> {
  const pair = await crypto.subtle.generateKey(KEY_ALGORITHM, true, ["sign", "verify"]);
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey("pkcs8", pair.privateKey));
  const pem = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" }).export({ format: "pem", type: "pkcs8" });
  return {
    signing: { key: pair.privateKey, algorithm: { name: "ECDSA", hash: "SHA-256" }, pem: pem.toString() },
    publicKey: pair.publicKey,
  };
}

/** ECDSA (P-256, P-384, P-521) and RSA keys, in any PEM form. Throws when it is none. */
export async function signingKeyFromPem(pem: string): Promise<SigningKey> {
  const key = createPrivateKey(pem);
  const { imported, algorithm } = algorithmsOf(key);
  const pkcs8 = key.export({ format: "der", type: "pkcs8" });
  return { key: await crypto.subtle.importKey("pkcs8", pkcs8, imported, true, ["sign"]), algorithm, pem };
}

const CURVES: Readonly<Record<string, readonly [curve: string, hash: string]>> = {
  prime256v1: ["P-256", "SHA-256"],
  secp384r1: ["P-384", "SHA-384"],
  secp521r1: ["P-521", "SHA-512"],
};

function algorithmsOf(key: KeyObject): {
  imported: webcrypto.EcKeyImportParams | webcrypto.RsaHashedImportParams;
  algorithm: webcrypto.EcdsaParams | webcrypto.Algorithm;
} {
  const curve = CURVES[key.asymmetricKeyDetails?.namedCurve ?? ""];
  if (key.asymmetricKeyType === "ec" && curve !== undefined) {
    const [namedCurve, hash] = curve;
    return { imported: { name: "ECDSA", namedCurve }, algorithm: { name: "ECDSA", hash } };
  }
  if (key.asymmetricKeyType === "rsa") {
    const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
    return { imported: algorithm, algorithm };
  }
  throw new TypeError(`a ${key.asymmetricKeyType} key cannot sign; use ECDSA (P-256, P-384, P-521) or RSA`);
}

/** The certificates of a PEM bundle, in its order. Throws when one is broken. */
export function certificatesOf(pem: string): x509.X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new x509.X509Certificate(block));
}

/** PEM with a newline at its end, so that several can be put together. */
export function pemOf(certificate: x509.X509Certificate): string {
  return `${certificate.toString("pem").trim()}\n`;
}

/** Each certificate once, first come first. */
export function uniqueBundle(...pems: readonly string[]): string {
  return [...new Set(pems.flatMap(certificatesOf).map(pemOf))].join("");
}

/** A positive serial number of 128 random bits. */
export function newSerialNumber(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x01;
  return Buffer.from(bytes).toString("hex");
}
