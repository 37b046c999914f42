/** A key and a PKCS #10 request for one SPIFFE id: EC P-256, no subject, one critical URI name. */
import { generateKeyPair, sign } from "node:crypto";
import { promisify } from "node:util";
import { bitString, element, INTEGER_ZERO, objectIdentifier, octetString, sequence, set, TRUE } from "./der.ts";

export interface SigningRequest {
  /** PEM. */
  readonly csr: string;
  /** PKCS #8 PEM. */
  readonly key: string;
}

const EXTENSION_REQUEST = objectIdentifier("1.2.840.113549.1.9.14");
const SUBJECT_ALT_NAME = objectIdentifier("2.5.29.17");
const ECDSA_WITH_SHA256 = objectIdentifier("1.2.840.10045.4.3.2");
const URI_NAME = 0x86;
const ATTRIBUTES = 0xa0;

const generate = promisify(generateKeyPair);

/** A new key each time. */
export async function createSigningRequest(spiffeId: string): Promise<SigningRequest> {
  const { publicKey, privateKey } = await generate("ec", { namedCurve: "P-256" });
  const names = sequence(element(URI_NAME, Buffer.from(spiffeId, "ascii")));
  const extension = sequence(SUBJECT_ALT_NAME, TRUE, octetString(names));
  const info = sequence(
    INTEGER_ZERO,
    sequence(),
    publicKey.export({ type: "spki", format: "der" }),
    element(ATTRIBUTES, sequence(EXTENSION_REQUEST, set(sequence(extension)))),
  );
  const signature = sign("sha256", info, privateKey);
  const request = sequence(info, sequence(ECDSA_WITH_SHA256), bitString(signature));
  return { csr: pem("CERTIFICATE REQUEST", request), key: privateKey.export({ type: "pkcs8", format: "pem" }) };
}

function pem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
