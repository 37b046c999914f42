/** Answers for BackendTLSPolicies in their statuses, at each waypoint that one of their Services is behind. */
import type { Logger } from "pino";
import type { KubeClient } from "#lib/kube/client.ts";
import { BACKEND_TLS_POLICIES, type PolicyObject } from "#lib/kube/types.ts";
import { keyOfDefinition } from "../../model/definition-index.ts";
import { keyOf } from "../../model/meta.ts";
import type { ServiceDefinition } from "../../model/service-definition.ts";
import type { ServiceLookup } from "../../model/service-lookup.ts";
import { ParentStatusWriter } from "../../status/parent-status-writer.ts";
import type { ObjectId, Remarks } from "../../status/remarks.ts";
import { type CredentialSource, credentialKey } from "../credentials/credential-ref.ts";
import { GATEWAY_GROUP } from "../gateway-api/parent-ref.ts";
import type { ParentVerdict } from "../gateway-api/parent-status.ts";
import { authoritiesOf } from "./plan.ts";
import { type BackendTlsPolicies, servicesOf } from "./policies.ts";
import { type BackendTlsPolicyFacts, versionOfPolicy } from "./policy.ts";
import { policyConditions } from "./verdict.ts";

export interface BackendTlsReporterOptions {
  readonly client: KubeClient;
  readonly leads: () => boolean;
  readonly log: Logger;
  readonly policies: BackendTlsPolicies;
  readonly credentials: CredentialSource;
  readonly services: ServiceLookup;
  readonly remarks: Remarks;
  /** `namespace/name` of the waypoint that a service is behind. */
  readonly gatewayOf: (service: string) => string | undefined;
}

/** The API takes no more. */
const MAX_ANCESTORS = 16;

export class BackendTlsReporter {
  readonly #options: BackendTlsReporterOptions;
  readonly #writer: ParentStatusWriter<PolicyObject>;

  constructor(options: BackendTlsReporterOptions) {
    this.#options = options;
    const { client, leads, log, policies } = options;
    this.#writer = new ParentStatusWriter<PolicyObject>({
      client,
      leads,
      log,
      type: BACKEND_TLS_POLICIES,
      objects: policies.all,
      most: MAX_ANCESTORS,
      versionOf: versionOfPolicy,
      statusOf: (entries) => ({
        ancestors: entries.map(({ parentRef, ...entry }) => ({ ancestorRef: parentRef, ...entry })),
      }),
      verdictsOf: (key) => this.#verdictsOf(key),
      remarksOf: (key) => options.remarks.of(`BackendTLSPolicy/${key}` as ObjectId),
    });
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#writer.run(signal);
  }

  /** This replica leads now, or knows all there is. */
  refresh(): void {
    for (const policy of this.#options.policies.all.values()) this.#check(policy);
  }

  /** Another policy may be in force for it, or it went behind a waypoint or came out. */
  serviceChanged(namespace: string, name: string): void {
    for (const policy of this.#options.policies.of({ namespace, name })) this.#check(policy);
  }

  /** Something else is to be said of this object, if it is a policy. */
  remarkChanged(object: ObjectId): void {
    const [kind, namespace = "", name = ""] = object.split("/");
    if (kind === BACKEND_TLS_POLICIES.kind) this.#writer.check(`${namespace}/${name}`);
  }

  credentialChanged(key: string): void {
    for (const policy of this.#options.policies.all.values()) {
      if (authoritiesOf(policy).some((ref) => credentialKey(ref) === key)) this.#check(policy);
    }
  }

  /** The policy is gone. */
  forget(policy: BackendTlsPolicyFacts): void {
    this.#options.credentials.want(userOf(policy), []);
  }

  #check(policy: BackendTlsPolicyFacts): void {
    // Of what nobody uses nothing is read.
    const refs = this.#gatewaysOf(policy).size === 0 ? [] : authoritiesOf(policy);
    this.#options.credentials.want(userOf(policy), refs);
    this.#writer.check(keyOf(policy));
  }

  #gatewaysOf(policy: BackendTlsPolicyFacts): Set<string> {
    const { services, gatewayOf } = this.#options;
    const definitions = servicesOf(policy)
      .map(({ namespace, name }) => services.service(namespace, name))
      .filter((definition): definition is ServiceDefinition => definition !== undefined);
    return new Set(
      definitions.map((definition) => gatewayOf(keyOfDefinition(definition))).filter((each) => each !== undefined),
    );
  }

  #verdictsOf(key: string): ParentVerdict[] | undefined {
    const { policies, credentials } = this.#options;
    const policy = policies.all.get(key);
    if (policy === undefined) return undefined;
    const gateways = [...this.#gatewaysOf(policy)].sort();
    if (gateways.length === 0) return [];
    const conditions = policyConditions(policy, policies, credentials);
    return (
      conditions &&
      gateways.map((gateway) => {
        const [namespace = "", name = ""] = gateway.split("/");
        return { parent: { written: { group: GATEWAY_GROUP, kind: "Gateway", namespace, name } }, conditions };
      })
    );
  }
}

function userOf(policy: BackendTlsPolicyFacts): string {
  return `BackendTLSPolicy ${keyOf(policy)}`;
}
