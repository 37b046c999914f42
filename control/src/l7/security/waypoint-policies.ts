/** Policies and token rules for waypoints, by what they are for. */
import { create } from "@bufbuild/protobuf";
import { type Jwt, JwtSchema, type Policy, Policy_Action } from "#proto/l7_pb.ts";
import { Collection } from "../../model/collection.ts";
import { keyOf } from "../../model/meta.ts";
import { OwnedNames } from "../../model/owned-names.ts";
import type { ServiceLookup } from "../../model/service-lookup.ts";
import type { ClusterNamer } from "../destination.ts";
import { type AuthorizerProvider, resolvedAuthorizer } from "./authorizer.ts";
import { sourceKey } from "./jwks.ts";
import type { JwksKeeper } from "./jwks-keeper.ts";
import { type Target, targetKey } from "./policy-target.ts";
import type { JwtRuleFacts, RequestAuthenticationFacts } from "./request-authentication.ts";
import { withTrustDomains } from "./trust-domains.ts";
import type { WaypointPolicyFacts } from "./waypoint-policy.ts";

export interface WaypointPoliciesEvents {
  /** The names that `policiesFor` or `jwtFor` give for it may have changed. */
  readonly onTarget?: (target: Target) => void;
  /** What `policy` gives for this name may have changed. */
  readonly onPolicy?: (name: string) => void;
  readonly onJwt?: (name: string) => void;
}

export interface WaypointPoliciesOptions extends WaypointPoliciesEvents {
  readonly services: ServiceLookup;
  readonly clusterDomain: string;
  readonly provider: (name: string) => AuthorizerProvider | undefined;
  /** The mesh's own and its aliases. */
  readonly trustDomains: () => readonly string[];
  readonly keys: Pick<JwksKeeper, "want" | "keysOf">;
}

type Targeted = WaypointPolicyFacts | RequestAuthenticationFacts;

export class WaypointPolicies {
  readonly authorizationPolicies = new Collection<WaypointPolicyFacts>((b, a) => this.#onPolicy(b, a));
  readonly requestAuthentications = new Collection<RequestAuthenticationFacts>((b, a) => this.#onJwt(b, a));
  readonly #options: WaypointPoliciesOptions;
  readonly #policies = new OwnedNames();
  readonly #jwt = new OwnedNames();
  /** Names of RequestAuthentications by the key of each source of keys. */
  readonly #bySource = new OwnedNames();

  constructor(options: WaypointPoliciesOptions) {
    this.#options = options;
  }

  /** Names of AuthorizationPolicies, in one order everywhere. */
  policiesFor(target: Target): string[] {
    return [...this.#policies.of(targetKey(target))].sort();
  }

  /** Names of RequestAuthentications, in one order everywhere. */
  jwtFor(target: Target): string[] {
    return [...this.#jwt.of(targetKey(target))].sort();
  }

  /** `cluster` is asked for the authorizer's. */
  policy(name: string, cluster: ClusterNamer): Policy | undefined {
    const facts = this.authorizationPolicies.get(name);
    if (facts === undefined) return undefined;
    const policy = withTrustDomains(facts.policy, this.#options.trustDomains());
    if (policy.action !== Policy_Action.CUSTOM) return policy;
    const provider = this.#options.provider(facts.provider);
    const { services, clusterDomain } = this.#options;
    const authorizer = provider && resolvedAuthorizer(provider, services, clusterDomain, cluster);
    // Without one, whatever matches is denied.
    return authorizer === undefined ? policy : { ...policy, authorizer };
  }

  jwt(name: string): Jwt | undefined {
    const facts = this.requestAuthentications.get(name);
    return facts && create(JwtSchema, { name, rules: facts.rules.map((rule) => this.#withKeys(rule)) });
  }

  #withKeys({ source, rule }: JwtRuleFacts) {
    if (source === undefined) return rule;
    const jwks = this.#options.keys.keysOf(source);
    return jwks === undefined ? { ...rule, jwksMissing: true } : { ...rule, jwks };
  }

  /** Names of those whose keys come from this source. */
  jwtOfSource(source: string): ReadonlySet<string> {
    return this.#bySource.of(source);
  }

  /** Keys from this source are others now. */
  keysChanged(source: string): void {
    for (const name of this.jwtOfSource(source)) this.#options.onJwt?.(name);
  }

  /** There may be another service, or none, behind an authorizer. Returns the names of policies that ask one. */
  authorizersChanged(): string[] {
    const all = [...this.authorizationPolicies.values()];
    const names = all.filter(({ policy }) => policy.action === Policy_Action.CUSTOM).map(({ policy }) => policy.name);
    for (const name of names) this.#options.onPolicy?.(name);
    return names;
  }

  #onPolicy(before: WaypointPolicyFacts | undefined, after: WaypointPolicyFacts | undefined): void {
    const name = keyOf((after ?? before) as WaypointPolicyFacts);
    this.#move(this.#policies, name, before, after);
    this.#options.onPolicy?.(name);
  }

  #onJwt(before: RequestAuthenticationFacts | undefined, after: RequestAuthenticationFacts | undefined): void {
    const name = keyOf((after ?? before) as RequestAuthenticationFacts);
    const sources = (facts: RequestAuthenticationFacts | undefined) =>
      (facts?.rules ?? []).flatMap(({ source }) => (source === undefined ? [] : [source]));
    for (const source of sources(before)) this.#bySource.remove(sourceKey(source), name);
    for (const source of sources(after)) this.#bySource.add(sourceKey(source), name);
    this.#options.keys.want(name, sources(after));
    this.#move(this.#jwt, name, before, after);
    this.#options.onJwt?.(name);
  }

  #move(index: OwnedNames, name: string, before: Targeted | undefined, after: Targeted | undefined): void {
    const was = new Map((before?.targets ?? []).map((target) => [targetKey(target), target]));
    const is = new Map((after?.targets ?? []).map((target) => [targetKey(target), target]));
    for (const [key, target] of was) {
      if (is.has(key)) continue;
      index.remove(key, name);
      this.#options.onTarget?.(target);
    }
    for (const [key, target] of is) {
      if (was.has(key)) continue;
      index.add(key, name);
      this.#options.onTarget?.(target);
    }
  }
}
