/** Which objects the certificates of a DestinationRule come from: those of the waypoint's own namespace, as in Istio. */
import { ClientTls_Mode } from "#proto/l7_pb.ts";
import type { TlsPlan } from "../credentials/client-tls.ts";
import type { CredentialRef } from "../credentials/credential-ref.ts";
import type { ReferenceGrants } from "../gateway-api/reference-grants.ts";
import type { TlsFacts } from "./tls-settings.ts";

export interface TlsPlanOptions {
  readonly waypointNamespace: string;
  readonly rootNamespace: string;
  /** Where the rule is. */
  readonly ruleNamespace: string;
  readonly grants: ReferenceGrants;
}

const AUTHORITIES_SUFFIX = "-cacert";

export function destinationRuleTls(facts: TlsFacts & { readonly kind: "tls" }, options: TlsPlanOptions): TlsPlan {
  const { tls, material } = facts;
  const { secret, configMap, files } = material;
  const ref = (kind: CredentialRef["kind"], name: string) => ({ kind, namespace: options.waypointNamespace, name });
  if (files.length > 0) {
    const message = `${files.join(", ")}: a waypoint has no files of yours; put them into a Secret and name it in credentialName`;
    return { tls, authorities: [], problem: { reason: "UnsupportedValue", message } };
  }
  const authorities =
    configMap !== ""
      ? [ref("ConfigMap", configMap)]
      : secret !== ""
        ? [ref("Secret", `${secret}${AUTHORITIES_SUFFIX}`), ref("Secret", secret)]
        : [];
  const mutual = tls.mode === ClientTls_Mode.MUTUAL;
  const plan: TlsPlan = { tls, authorities, ...(mutual ? { pair: ref("Secret", secret) } : {}) };
  const refused = authorities.find((each) => !mayName(each, options));
  if (refused === undefined) return plan;
  const message = `${refused.kind} ${refused.namespace}/${refused.name} is of the waypoint's namespace: a rule of another one needs a ReferenceGrant there for DestinationRules of ${options.ruleNamespace}`;
  return { ...plan, problem: { reason: "RefNotPermitted", message } };
}

/**
 * Whoever may write rules somewhere else would have the waypoint prove itself with a key that is not theirs. The mesh's
 * own namespace is whoever runs the mesh.
 */
function mayName(ref: CredentialRef, { ruleNamespace, rootNamespace, grants }: TlsPlanOptions): boolean {
  if (ruleNamespace === rootNamespace) return true;
  const rule = { group: "networking.istio.io", kind: "DestinationRule", namespace: ruleNamespace };
  return grants.allows(rule, { group: "", ...ref });
}
