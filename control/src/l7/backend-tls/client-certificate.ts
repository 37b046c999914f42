/** What a waypoint shows to servers that a BackendTLSPolicy has it talk TLS to: `spec.tls.backend` of its Gateway. */
import type { GatewayFacts } from "../../model/gateway.ts";
import type { TlsProblem } from "../credentials/client-tls.ts";
import type { CredentialRef } from "../credentials/credential-ref.ts";
import type { ReferenceGrants } from "../gateway-api/reference-grants.ts";

export interface ClientCertificate {
  /** Absent: what is named is no Secret. */
  readonly ref?: CredentialRef;
  readonly problem?: TlsProblem;
}

/** Undefined: there is none. */
export function clientCertificateOf(
  gateway: GatewayFacts | undefined,
  grants: ReferenceGrants,
): ClientCertificate | undefined {
  const certificate = gateway?.clientCertificate;
  if (gateway === undefined || certificate === undefined) return undefined;
  const { group, kind, namespace, name } = certificate;
  const where = "spec.tls.backend.clientCertificateRef";
  if (group !== "" || kind !== "Secret" || name === "") {
    return { problem: { reason: "InvalidCertificateRef", message: `${where}: must name a Secret` } };
  }
  const ref: CredentialRef = { kind, namespace, name };
  const from = { group: "gateway.networking.k8s.io", kind: "Gateway", namespace: gateway.namespace };
  if (grants.allows(from, { group, ...ref })) return { ref };
  const message = `${where}: Secret ${namespace}/${name} needs a ReferenceGrant there for Gateways of ${gateway.namespace}`;
  return { ref, problem: { reason: "RefNotPermitted", message } };
}
