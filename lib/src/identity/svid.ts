/** A certificate that proves one workload, as the authority returned it. */
import { createPrivateKey, X509Certificate } from "node:crypto";

export interface Svid {
  readonly identity: string;
  /** PEM: leaf first, then intermediates. */
  readonly chain: string;
  /** PKCS #8 PEM. */
  readonly key: string;
  /** PEM of the anchors that this identity's peers are checked against. */
  readonly roots: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** When to ask for the next one: at half of the life. */
export function renewAtMs(svid: Svid): number {
  return svid.notBeforeMs + (svid.notAfterMs - svid.notBeforeMs) / 2;
}

/**
 * Checks the authority's answer: leaf, intermediates one by one, and last the roots. Throws an Error that says what is
 * wrong with it.
 */
export function parseAnswer(identity: string, key: string, certChain: readonly string[]): Svid {
  const roots = certChain.at(-1);
  const leafPem = certChain[0];
  if (leafPem === undefined || roots === undefined || certChain.length < 2) {
    throw new Error(`the authority sent ${certChain.length} certificates for ${identity}; expected leaf and root`);
  }
  const leaf = new X509Certificate(leafPem);
  const name = firstUriName(leaf);
  if (name !== identity) throw new Error(`the authority sent a certificate for ${name ?? "no URI"}, not ${identity}`);
  if (!leaf.checkPrivateKey(createPrivateKey(key))) {
    throw new Error(`the authority sent a certificate for another key than that of ${identity}`);
  }
  if (splitPem(roots).length === 0) throw new Error(`the authority sent no root for ${identity}`);
  return {
    identity,
    chain: certChain.slice(0, -1).map(withNewline).join(""),
    key,
    roots: withNewline(roots),
    notBeforeMs: leaf.validFromDate.getTime(),
    notAfterMs: leaf.validToDate.getTime(),
  };
}

/** The certificates of a PEM bundle, one by one. */
export function splitPem(bundle: string): string[] {
  return bundle.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
}

function firstUriName(certificate: X509Certificate): string | undefined {
  // A quoted entry holds characters that no SPIFFE id of ours has; it then simply does not match.
  const names = certificate.subjectAltName?.split(", ") ?? [];
  return names.find((name) => name.startsWith("URI:"))?.slice("URI:".length);
}

function withNewline(pem: string): string {
  return pem.endsWith("\n") ? pem : `${pem}\n`;
}
