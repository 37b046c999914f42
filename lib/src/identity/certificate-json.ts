/** Certificates as the admin pages show them, in the shape that `istioctl ztunnel-config` reads; never a key. */
import { X509Certificate } from "node:crypto";
import type { IdentityStatus } from "./identity-manager.ts";
import { splitPem } from "./svid.ts";

export function certificateJson({ identity, state, svid, error }: IdentityStatus): object {
  return {
    identity,
    state: error === undefined ? state : `${state}: ${error}`,
    certChain: svid === undefined ? [] : splitPem(svid.chain).map(onePem),
    rootCerts: svid === undefined ? [] : splitPem(svid.roots).map(onePem),
  };
}

function onePem(pem: string): object {
  const certificate = new X509Certificate(pem);
  return {
    pem: Buffer.from(pem).toString("base64"),
    serialNumber: BigInt(`0x${certificate.serialNumber}`).toString(),
    validFrom: certificate.validFromDate.toISOString(),
    expirationTime: certificate.validToDate.toISOString(),
  };
}
