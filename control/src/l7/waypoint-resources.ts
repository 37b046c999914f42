/**
 * What users say of waypoints in routes, policies and token rules: read, kept, compiled on demand, and answered for in
 * their statuses. Whoever puts programs together asks `routes` and `policies`, and is told what has changed.
 */
import type { BlockList } from "node:net";
import type { Logger } from "pino";
import type { KubeClient } from "#lib/kube/client.ts";
import { AUTHORIZATION_POLICIES, ENVOY_FILTERS, REQUEST_AUTHENTICATIONS, type RouteObject } from "#lib/kube/types.ts";
import type { Input } from "../kube/inputs.ts";
import { ROUTE_TYPES, waypointInputs } from "../kube/waypoint-inputs.ts";
import type { Verdict } from "../model/accepted.ts";
import type { ServiceDefinition } from "../model/service-definition.ts";
import type { ServiceLookup } from "../model/service-lookup.ts";
import { ParentStatusWriter } from "../status/parent-status-writer.ts";
import type { ObjectId, Remarks } from "../status/remarks.ts";
import { type Finding, StatusWriter } from "../status/status-writer.ts";
import type { EnvoyFilterFacts } from "./envoy-filter/envoy-filter.ts";
import type { BeginsTls } from "./gateway-api/backend-ref.ts";
import { MeshRoutes } from "./gateway-api/mesh-routes.ts";
import { MAX_PARENTS } from "./gateway-api/parent-status.ts";
import { ROUTE_KINDS, type RouteKind, versionOf } from "./gateway-api/route-facts.ts";
import { describeProviderService, providerDefinition } from "./provider-service.ts";
import type { AuthorizerProvider } from "./security/authorizer.ts";
import { JwksKeeper, type JwksTiming } from "./security/jwks-keeper.ts";
import type { TargetState } from "./security/policy-finding.ts";
import type { Target } from "./security/policy-target.ts";
import type { RequestAuthenticationFacts } from "./security/request-authentication.ts";
import { WaypointFindings } from "./security/waypoint-findings.ts";
import { WaypointPolicies, type WaypointPoliciesEvents } from "./security/waypoint-policies.ts";
import type { WaypointPolicyFacts } from "./security/waypoint-policy.ts";

/** Who knows of waypoints and of what is behind them. */
export interface WaypointBindings {
  isWaypoint(namespace: string, gateway: string): boolean;
  isWaypointClass(name: string): boolean;
  /** Whether its traffic goes by a waypoint. */
  isBound(service: ServiceDefinition): boolean;
}

export interface WaypointResourcesOptions extends WaypointPoliciesEvents {
  readonly client: KubeClient;
  readonly leads: () => boolean;
  readonly log: Logger;
  readonly services: ServiceLookup;
  readonly bindings: WaypointBindings;
  readonly beginsTls: BeginsTls;
  /** What is said of routes beside what is decided here. */
  readonly remarks: Remarks;
  readonly rootNamespace: string;
  readonly clusterDomain: string;
  /** The mesh's own and its aliases. */
  readonly trustDomains: () => readonly string[];
  /** Of `meshConfig.extensionProviders`. */
  readonly provider: (name: string) => AuthorizerProvider | undefined;
  /** Where key sets are never fetched from. */
  readonly blockedJwksAddresses: BlockList;
  readonly jwksTiming?: JwksTiming;
  /** `routes.routesFor` may give something else for this service (`namespace/host`). */
  readonly onService?: (service: string) => void;
  /** `routes.acceptedAt` may give something else for this route. */
  readonly onRoute?: (id: string) => void;
  /** The condition of an AuthorizationPolicy: written by whoever writes their other conditions. */
  readonly onPolicyFinding: (finding: Finding) => void;
  /** A policy or token rule was read that is for waypoints. */
  readonly onVerdict?: (kind: string, verdict: Verdict<WaypointPolicyFacts | RequestAuthenticationFacts>) => void;
}

export class WaypointResources {
  readonly routes: MeshRoutes;
  readonly policies: WaypointPolicies;
  readonly envoyFilters: WaypointFindings<EnvoyFilterFacts>;
  readonly #options: WaypointResourcesOptions;
  readonly #keys: JwksKeeper;
  readonly #routeWriters: { readonly [K in RouteKind]: ParentStatusWriter<RouteObject> };
  readonly #tokenWriter: StatusWriter;
  readonly #filterWriter: StatusWriter;
  readonly #policyFindings: WaypointFindings<WaypointPolicyFacts>;
  readonly #tokenFindings: WaypointFindings<RequestAuthenticationFacts>;

  constructor(options: WaypointResourcesOptions) {
    this.#options = options;
    const { client, leads, log, services, bindings } = options;
    this.routes = new MeshRoutes({
      services,
      isWaypoint: (namespace, name) => bindings.isWaypoint(namespace, name),
      isBound: (service) => bindings.isBound(service),
      beginsTls: options.beginsTls,
      onVerdict: (kind, key) => this.#routeWriters[kind].check(key),
      ...(options.onRoute === undefined ? {} : { onRoute: options.onRoute }),
      ...(options.onService === undefined ? {} : { onService: options.onService }),
    });
    const writerOf = (kind: RouteKind) =>
      new ParentStatusWriter<RouteObject>({
        client,
        type: ROUTE_TYPES[kind],
        objects: this.routes.collections[kind],
        most: MAX_PARENTS,
        versionOf,
        statusOf: (parents) => ({ parents }),
        verdictsOf: (key) => this.routes.verdictsOf(kind, key),
        remarksOf: (key) => options.remarks.of(`${kind}/${key}` as ObjectId),
        leads,
        log,
      });
    this.#routeWriters = {
      GRPCRoute: writerOf("GRPCRoute"),
      HTTPRoute: writerOf("HTTPRoute"),
      TLSRoute: writerOf("TLSRoute"),
      TCPRoute: writerOf("TCPRoute"),
    };
    this.#keys = new JwksKeeper({
      blocked: options.blockedJwksAddresses,
      log,
      onChange: (source) => this.#keysChanged(source),
      ...(options.jwksTiming === undefined ? {} : { timing: options.jwksTiming }),
    });
    this.policies = new WaypointPolicies({
      services,
      clusterDomain: options.clusterDomain,
      provider: options.provider,
      trustDomains: options.trustDomains,
      keys: this.#keys,
      ...(options.onTarget === undefined ? {} : { onTarget: options.onTarget }),
      onPolicy: (name) => {
        if (this.policies.authorizationPolicies.get(name) === undefined) this.#policyFindings.forget(name);
        options.onPolicy?.(name);
      },
      onJwt: (name) => {
        if (this.policies.requestAuthentications.get(name) === undefined) this.#tokenFindings.forget(name);
        options.onJwt?.(name);
      },
    });
    this.#tokenWriter = new StatusWriter({ client, type: REQUEST_AUTHENTICATIONS, leads, log });
    this.#filterWriter = new StatusWriter({ client, type: ENVOY_FILTERS, leads, log });
    const stateOf = (target: Target) => this.#stateOf(target);
    this.envoyFilters = new WaypointFindings({
      stateOf,
      // Before everything is loaded, a target may seem missing that is not.
      onFinding: (finding) => {
        if (leads()) this.#filterWriter.found(finding);
      },
      obstacle: (facts) => this.#missingLimiter(facts),
    });
    this.#policyFindings = new WaypointFindings({
      stateOf,
      onFinding: options.onPolicyFinding,
      obstacle: ({ provider }) => this.#missingAuthorizer(provider),
    });
    this.#tokenFindings = new WaypointFindings({
      stateOf,
      onFinding: (finding) => this.#tokenWriter.found(finding),
      obstacle: (facts) => this.#missingKeys(facts),
    });
  }

  /** What is to be watched for this. */
  inputs(): Input[] {
    const { rootNamespace, onVerdict } = this.#options;
    return waypointInputs(this.routes, this.policies, rootNamespace, {
      waypointPolicy: (verdict) => {
        this.#policyFindings.note(verdict);
        onVerdict?.(AUTHORIZATION_POLICIES.kind, verdict);
      },
      requestAuthentication: (verdict) => {
        this.#tokenFindings.note(verdict);
        onVerdict?.(REQUEST_AUTHENTICATIONS.kind, verdict);
      },
    });
  }

  /** Fetches keys and writes statuses until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([
      this.#keys.run(signal),
      this.#tokenWriter.run(signal),
      this.#filterWriter.run(signal),
      ...Object.values(this.#routeWriters).map((writer) => writer.run(signal)),
    ]);
  }

  /** This replica leads now, or knows all there is: what was found before is due. */
  refresh(): void {
    for (const writer of Object.values(this.#routeWriters)) writer.refresh();
    this.#policyFindings.recheckAll();
    this.#tokenFindings.recheckAll();
    this.envoyFilters.recheckAll();
  }

  /** One of both is there. */
  serviceChanged(before: ServiceDefinition | undefined, after: ServiceDefinition | undefined): void {
    this.routes.serviceChanged(before, after);
    const definition = after ?? before;
    if (definition !== undefined) this.bindingChanged(definition);
    // An authorizer may have come or gone with it.
    if (before === undefined || after === undefined) {
      for (const name of this.policies.authorizersChanged()) this.#policyFindings.recheck(name);
      this.envoyFilters.recheckAll();
    }
  }

  /** A service went behind a waypoint, or came out. */
  bindingChanged(service: ServiceDefinition): void {
    const { source, namespace, name } = service;
    this.routes.bindingChanged(service);
    this.#targetChanged({ kind: source, namespace, name });
  }

  /** Something else is to be said of this object, if it is a route. */
  remarkChanged(object: ObjectId): void {
    const [kind = "", namespace = "", name = ""] = object.split("/");
    const route = ROUTE_KINDS.find((each) => each === kind);
    if (route !== undefined) this.#routeWriters[route].check(`${namespace}/${name}`);
  }

  gatewayChanged(namespace: string, name: string): void {
    this.routes.gatewayChanged(namespace, name);
    this.#targetChanged({ kind: "Gateway", namespace, name });
  }

  classChanged(name: string): void {
    this.#targetChanged({ kind: "GatewayClass", namespace: "", name });
  }

  /** The mesh's configuration may have other authorizers now. What `policies` gives is to be asked for again. */
  configChanged(): void {
    this.#policyFindings.recheckAll();
  }

  /** Without an authorizer, whatever matches is denied. */
  #missingAuthorizer(name: string): string {
    if (name === "") return "";
    const provider = this.#options.provider(name);
    if (provider === undefined) {
      return `meshConfig.extensionProviders has no authorizer "${name}": what matches is denied`;
    }
    const { services, clusterDomain } = this.#options;
    if (providerDefinition(provider.service, services, clusterDomain) !== undefined) return "";
    return `authorizer "${name}" has no ${describeProviderService(provider.service)}: what matches is denied`;
  }

  #missingLimiter({ patches }: EnvoyFilterFacts): string {
    const missing = patches.flatMap(({ service: limiter }) => {
      if (limiter === undefined) return [];
      const { host, port } = limiter.service;
      // The name of a cluster has the whole name of its host.
      const definition = this.#options.services.host(host, "");
      if (definition?.ports.some(({ number }) => number === port) === true) return [];
      const effect = limiter.failClosed ? "what it would be asked about is refused" : "nothing is limited by it";
      return [`there is no ${describeProviderService(limiter.service)}: ${effect}`];
    });
    return missing.join("; ");
  }

  #targetChanged(target: Target): void {
    this.#policyFindings.targetChanged(target);
    this.#tokenFindings.targetChanged(target);
    this.envoyFilters.targetChanged(target);
  }

  #keysChanged(source: string): void {
    this.policies.keysChanged(source);
    for (const name of this.policies.jwtOfSource(source)) this.#tokenFindings.recheck(name);
  }

  /** Undefined keys are the worst that a token rule can have: nobody gets in with a token. */
  #missingKeys({ rules }: RequestAuthenticationFacts): string {
    const missing = rules.flatMap(({ source, rule }) => {
      const failure = source === undefined ? "" : this.#keys.failureOf(source);
      if (source === undefined || failure === "" || failure === "not fetched yet") return [];
      if (this.#keys.keysOf(source) !== undefined) return [];
      return [`the keys of issuer ${rule.issuer} cannot be fetched (${failure}): its tokens are refused`];
    });
    return missing.join("; ");
  }

  #stateOf({ kind, namespace, name }: Target): TargetState {
    const { services, bindings } = this.#options;
    const boundOr = (definitions: readonly ServiceDefinition[]): TargetState => {
      if (definitions.length === 0) return "not found";
      return definitions.some((definition) => bindings.isBound(definition)) ? "bound" : "not bound";
    };
    switch (kind) {
      case "Service": {
        const definition = services.service(namespace, name);
        return boundOr(definition === undefined ? [] : [definition]);
      }
      case "ServiceEntry":
        return boundOr(services.serviceEntry(namespace, name));
      case "Gateway":
        return bindings.isWaypoint(namespace, name) ? "bound" : "not found";
      case "GatewayClass":
        return bindings.isWaypointClass(name) ? "bound" : "not found";
    }
  }
}
