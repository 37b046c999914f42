/** PEM texts of users: what is wrong with them, before a waypoint has to say so. No message has anything of a key in it. */
import { createPrivateKey, X509Certificate } from "node:crypto";

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;
const REVOCATION_LIST = /-----BEGIN X509 CRL-----[\s\S]+?-----END X509 CRL-----/;
/** More than the system's own list; each waypoint parses them all. */
const MAX_CERTIFICATES = 1_000;

/** Undefined: all is well. */
export function certificatesProblem(pem: string): string | undefined {
  const found = pem.match(CERTIFICATE) ?? [];
  if (found.length === 0) return "has no certificate in PEM form";
  if (found.length > MAX_CERTIFICATES) return `has more than ${MAX_CERTIFICATES} certificates`;
  for (const [index, text] of found.entries()) {
    if (parsed(text) === undefined) return `has a certificate that cannot be read (the ${index + 1}. one)`;
  }
  return undefined;
}

/** The first certificate of the chain is the key's. */
export function keyPairProblem(chain: string, key: string): string | undefined {
  const problem = certificatesProblem(chain);
  if (problem !== undefined) return problem;
  const leaf = parsed((chain.match(CERTIFICATE) ?? [])[0] ?? "");
  try {
    return leaf?.checkPrivateKey(createPrivateKey(key)) === true
      ? undefined
      : "has a key that is another certificate's";
  } catch {
    return "has a private key that cannot be read";
  }
}

export function revocationListProblem(pem: string): string | undefined {
  return REVOCATION_LIST.test(pem) ? undefined : "has a revocation list that is not in PEM form";
}

function parsed(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}
