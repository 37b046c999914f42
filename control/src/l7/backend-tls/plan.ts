/** What a BackendTLSPolicy makes of a connection. */
import { create } from "@bufbuild/protobuf";
import { ClientTlsSchema } from "#proto/l7_pb.ts";
import { describeProblems } from "../../model/fields.ts";
import type { TlsPlan } from "../credentials/client-tls.ts";
import type { CredentialRef } from "../credentials/credential-ref.ts";
import type { ClientCertificate } from "./client-certificate.ts";
import type { BackendTlsPolicyFacts, LocalRef } from "./policy.ts";

/** `client`: what the waypoint shows of itself, where its Gateway says so. */
export function backendTlsPlan(policy: BackendTlsPolicyFacts, client?: ClientCertificate): TlsPlan {
  const { hostname, subjectAltNames, invalid } = policy;
  const names = subjectAltNames.length > 0 ? [...subjectAltNames] : [hostname];
  const tls = create(ClientTlsSchema, { sni: hostname, subjectAltNames: names });
  const what = `BackendTLSPolicy ${policy.namespace}/${policy.name}`;
  const no = (message: string): TlsPlan => ({
    tls,
    authorities: [],
    problem: { reason: "UnsupportedValue", message: `${what}: ${message}` },
  });
  if (invalid.length > 0) return no(describeProblems(invalid));
  const authorities = authoritiesOf(policy);
  if (authorities.length === 0 && policy.authorities.length > 0) return no("none of its authorities is a ConfigMap");
  return {
    tls,
    authorities,
    together: true,
    ...(client?.ref === undefined ? {} : { pair: client.ref }),
    ...(client?.problem === undefined ? {} : { problem: client.problem }),
  };
}

/** Those that can be read. */
export function authoritiesOf({ namespace, authorities }: BackendTlsPolicyFacts): CredentialRef[] {
  return authorities.filter(isConfigMap).map(({ name }) => ({ kind: "ConfigMap", namespace, name }));
}

export function isConfigMap({ group, kind }: LocalRef): boolean {
  return group === "" && kind === "ConfigMap";
}
