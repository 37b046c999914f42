/**
 * The L7 program of one waypoint. Changes mark what is made of them, `flush` makes just that again; what comes out is a
 * pure function of the world and of what is bound to the waypoint.
 */

import { hash } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { L7_TYPE_URLS, type L7TypeUrl, type TypeUrl } from "#lib/xds/types.ts";
import {
  ClusterSchema,
  type Destination,
  DestinationSchema,
  EndpointsSchema,
  JwtSchema,
  PolicySchema,
  RouteGroupSchema,
  SessionPersistenceSchema,
  SettingsSchema,
  TelemetrySchema,
} from "#proto/l7_pb.ts";
import { AppProtocol } from "#proto/workload_pb.ts";
import { keyOfDefinition } from "../model/definition-index.ts";
import { OwnedNames } from "../model/owned-names.ts";
import { ResourceTable, type TableChange } from "../model/resource-table.ts";
import type { ServiceDefinition } from "../model/service-definition.ts";
import type { ObjectId } from "../status/remarks.ts";
import type { Destination as BackendDestination, ClusterNamer } from "./destination.ts";
import { limitsOfPort, NO_LIMITS, type PortLimits } from "./envoy-filter/rate-limits.ts";
import type { HostPort } from "./istio/http-rule.ts";
import { DEFAULT_RETRY } from "./istio/http-traits.ts";
import { hostCovers } from "./istio/values.ts";
import type { L7World, WorldListener } from "./l7-world.ts";
import { type ClusterRequest, type NamedCluster, ProgramClusters, workloadOf } from "./program-clusters.ts";
import { type ProviderService, providerDefinition } from "./provider-service.ts";
import { References } from "./references.ts";
import { RuleCache } from "./rule-cache.ts";
import { type Target, targetKey } from "./security/policy-target.ts";
import { encodeServiceDestination } from "./service-destination.ts";
import { compileTelemetry } from "./telemetry/compile-telemetry.ts";
import type { Tracer } from "./telemetry/provider.ts";
import { compileWorkload } from "./workload-destination.ts";

export interface WaypointIdentity {
  readonly namespace: string;
  readonly name: string;
  readonly gatewayClass: string;
}

/** What is bound to a waypoint: keys of services (`namespace/hostname`) and uids of workloads. */
export interface WaypointBinding {
  readonly services: ReadonlySet<string>;
  readonly workloads: ReadonlySet<string>;
}

const PREFIX = "type.googleapis.com/weft.l7.";

/** The types without what all have in front. */
type NameOf<T extends L7TypeUrl> = T extends `type.googleapis.com/weft.l7.${infer Name}` ? Name : never;
type ProgramType = NameOf<L7TypeUrl>;

const SETTINGS = "settings";
/** Servers are told in x-forwarded-client-cert who the client is; without it nobody is, and what clients say is removed. */
const XFCC_ANNOTATION = "ambient.istio.io/xfcc-include-client-identity";
const OWN_TELEMETRY = "waypoint";
const SESSION_HEX_DIGITS = 8;
/** Who uses clusters beside services. */
const POLICY_USER = "policies";
const TELEMETRY_USER = "telemetry";

export class WaypointProgram {
  readonly waypoint: WaypointIdentity;
  readonly tables: Readonly<Record<ProgramType, ResourceTable>>;
  readonly byType: ReadonlyMap<TypeUrl, ResourceTable>;
  readonly #world: L7World;
  readonly #clusters: ProgramClusters;
  #cache = new RuleCache();
  /** Another object whenever clusters may be called otherwise, or balance otherwise. */
  #naming = {};
  readonly #groupsOfService = new References();
  #services: ReadonlySet<string> = new Set();
  #workloads: ReadonlySet<string> = new Set();
  readonly #keysOfHost = new OwnedNames();
  readonly #clustersOfWorkload = new OwnedNames();
  readonly #telemetryOrigins = new Map<string, readonly ObjectId[]>();
  readonly #dirtyServices = new Set<string>();
  readonly #dirtyWorkloads = new Set<string>();
  #dirtySettings = true;
  #xfccFromPeer = false;
  #clientCertificate: string | undefined;
  /** A provider's service is not there, and may come. */
  #missesProvider = false;
  readonly #stop: () => void;

  constructor(world: L7World, waypoint: WaypointIdentity, binding: WaypointBinding) {
    this.#world = world;
    this.waypoint = waypoint;
    this.byType = new Map(L7_TYPE_URLS.map((type) => [type, new ResourceTable(type, { versioned: true })]));
    this.tables = Object.fromEntries(
      [...this.byType].map(([type, table]) => [type.slice(PREFIX.length), table]),
    ) as unknown as Record<ProgramType, ResourceTable>;
    this.#clusters = new ProgramClusters(world, waypoint, {
      clusters: this.tables.Cluster,
      endpoints: this.tables.Endpoints,
    });
    this.#stop = world.listen(this.#listener());
    this.bind(binding);
  }

  /** Nobody asks for it any more. */
  close(): void {
    this.#stop();
    this.#clusters.close();
  }

  bind({ services, workloads }: WaypointBinding): void {
    for (const key of difference(services, this.#services)) {
      const host = hostOf(key);
      if (services.has(key)) this.#keysOfHost.add(host, key);
      else this.#keysOfHost.remove(host, key);
      this.#dirtyServices.add(key);
      this.#dirtySettings = true;
      // Its clusters are called otherwise now.
      this.#markUsers(host);
    }
    this.#naming = {};
    for (const uid of difference(workloads, this.#workloads)) {
      this.#dirtyWorkloads.add(uid);
      this.#dirtySettings = true;
    }
    this.#services = new Set(services);
    this.#workloads = new Set(workloads);
  }

  /** Brings the tables up to date. What has changed of them is told by the next `flush`. */
  derive(): void {
    this.#followGateway();
    for (const key of this.#dirtyServices) this.#guarded("service", key, () => this.#deriveService(key));
    for (const uid of this.#dirtyWorkloads) this.#guarded("workload", uid, () => this.#deriveWorkload(uid));
    if (this.#dirtySettings) this.#guarded("waypoint", this.waypoint.name, () => this.#deriveSettings());
    this.#clusters.flush();
    this.#dirtyServices.clear();
    this.#dirtyWorkloads.clear();
    this.#dirtySettings = false;
  }

  /** What its Gateway says of the program as a whole. */
  #followGateway(): void {
    const { namespace, name } = this.waypoint;
    const gateway = this.#world.model.gateways.get(`${namespace}/${name}`);
    const certificate = JSON.stringify(gateway?.clientCertificate);
    if (certificate !== this.#clientCertificate) {
      this.#clientCertificate = certificate;
      this.#clusters.markEverything();
    }
    const xfcc = gateway?.annotations[XFCC_ANNOTATION] === "true";
    if (xfcc === this.#xfccFromPeer) return;
    this.#xfccFromPeer = xfcc;
    this.#dirtySettings = true;
  }

  /** The objects that parts of it are made of. */
  readonly origins = {
    ofCluster: (name: string): readonly ObjectId[] => this.#clusters.sourcesOf(name),
    ofDestination: (name: string): readonly ObjectId[] => {
      const message = this.tables.Destination.get(name)?.message;
      return message === undefined ? [] : originsOf(fromBinary(DestinationSchema, message));
    },
    ofTelemetry: (name: string): readonly ObjectId[] => this.#telemetryOrigins.get(name) ?? [],
    ofLimits: (name: string): readonly ObjectId[] => {
      const definition = this.#world.model.definition(name);
      const { source: kind, namespace, name: own } = definition ?? {};
      const target: Target[] =
        kind === undefined || own === undefined ? [] : [{ kind, namespace: namespace ?? "", name: own }];
      const filters = this.#world.envoyFilters.filtersFor([...this.#ownTargets(), ...target]);
      return filters.map((filter): ObjectId => `EnvoyFilter/${filter.namespace}/${filter.name}`);
    },
    ofRouteGroup: (name: string): readonly ObjectId[] => {
      const message = this.tables.RouteGroup.get(name)?.message;
      return message === undefined ? [] : objectsAmong(fromBinary(RouteGroupSchema, message).routes.map(originOf));
    },
  };

  flush(): ReadonlyMap<TypeUrl, TableChange> {
    this.derive();
    const changes = new Map<TypeUrl, TableChange>();
    for (const [type, table] of this.byType) {
      const change = table.takeChange();
      if (change.changed.size + change.removed.size > 0) changes.set(type, change);
    }
    return changes;
  }

  // ---- what a change touches ------------------------------------------------------------------------------------

  #listener(): WorldListener {
    return {
      virtualServicesChanged: (hosts) => {
        for (const host of hosts) this.#markServicesOf(host);
      },
      trafficPoliciesChanged: (hosts) => {
        this.#naming = {};
        for (const host of hosts) {
          this.#clusters.markHost(host);
          // Whether a rule hashes decides about retries of routes to it.
          if (host.startsWith("*")) this.#markAllServices();
          else this.#markUsers(host);
        }
      },
      modelChanged: ({ definitions, served }) => {
        if (definitions.size > 0) this.#naming = {};
        if (this.#missesProvider && definitions.size > 0) this.#dirtySettings = true;
        for (const key of definitions) {
          const host = hostOf(key);
          if (this.#services.has(key)) {
            this.#dirtyServices.add(key);
            this.#dirtySettings = true;
          }
          this.#clusters.markHost(host);
          this.#markUsers(host);
        }
        for (const key of served) this.#clusters.markEndpoints(hostOf(key));
        if (this.#workloads.size > 0) for (const uid of this.#workloads) this.#dirtyWorkloads.add(uid);
      },
      routesChanged: (key) => {
        if (this.#services.has(key)) this.#dirtyServices.add(key);
      },
      policiesChanged: (target) => {
        this.#dirtySettings = true;
        for (const key of this.#keysOfTarget(target)) if (this.#services.has(key)) this.#dirtyServices.add(key);
      },
      telemetryChanged: () => {
        this.#dirtySettings = true;
        this.#markAllServices();
      },
      credentialChanged: (key) => this.#clusters.markCredential(key),
      grantsChanged: (namespace) => this.#clusters.markGrants(namespace),
      limitsChanged: () => {
        this.#markAllServices();
        for (const uid of this.#workloads) this.#dirtyWorkloads.add(uid);
      },
      everythingChanged: () => {
        this.#cache = new RuleCache();
        this.#naming = {};
        this.#dirtySettings = true;
        this.#clusters.markEverything();
        this.#markAllServices();
        for (const uid of this.#workloads) this.#dirtyWorkloads.add(uid);
      },
    };
  }

  /** Services that a target stands for. */
  #keysOfTarget(target: Target | undefined): string[] {
    const { serviceLookup } = this.#world.model;
    const { kind, namespace = "", name = "" } = target ?? {};
    if (kind === "ServiceEntry") return serviceLookup.serviceEntry(namespace, name).map(keyOfDefinition);
    const definition = kind === "Service" ? serviceLookup.service(namespace, name) : undefined;
    return definition === undefined ? [] : [keyOfDefinition(definition)];
  }

  #markServicesOf(pattern: string): void {
    if (!pattern.startsWith("*")) {
      for (const key of this.#keysOfHost.of(pattern)) this.#dirtyServices.add(key);
      return;
    }
    for (const key of this.#services) if (hostCovers(pattern, hostOf(key))) this.#dirtyServices.add(key);
  }

  #markUsers(host: string): void {
    for (const user of this.#clusters.usersOf(host)) {
      if (this.#services.has(user)) this.#dirtyServices.add(user);
      else if (this.#workloads.has(user)) this.#dirtyWorkloads.add(user);
      else this.#dirtySettings = true;
    }
  }

  #markAllServices(): void {
    for (const key of this.#services) this.#dirtyServices.add(key);
  }

  // ---- derivation -----------------------------------------------------------------------------------------------

  /** What cannot be derived stays as it was, and stops nothing else. */
  #guarded(kind: string, key: string, derive: () => void): void {
    try {
      derive();
    } catch (error) {
      this.#world.failed(kind, key, error);
    }
  }

  #deriveService(key: string): void {
    const { model, virtualServices, config, routes, policies } = this.#world;
    const definition = this.#services.has(key) ? model.definition(key) : undefined;
    const used = new Map<string, ClusterRequest>();
    const groups = new Map<string, () => Uint8Array>();
    if (definition === undefined) {
      this.tables.Destination.delete(key);
    } else {
      const { namespace } = this.waypoint;
      const exported = config.virtualServiceExportTo;
      const target: Target = { kind: definition.source, namespace: definition.namespace, name: definition.name };
      const message = encodeServiceDestination(key, definition, {
        virtualServices: virtualServices.forService(definition, namespace, exported),
        rulesOf: (facts) => virtualServices.rulesOf(facts, exported),
        retry: config.retry === undefined ? DEFAULT_RETRY : config.retry,
        policies: policies?.policiesFor(target) ?? [],
        jwt: policies?.jwtFor(target) ?? [],
        telemetry: this.#telemetryName(target),
        limits: this.#limitsFor([...this.#ownTargets(), target], used),
        gatewayRouting: (port) =>
          routes?.routesFor(definition, port, {
            services: model.serviceLookup,
            cluster: this.#namer(used),
            defaultRetry: config.retry === undefined ? DEFAULT_RETRY : (config.retry ?? undefined),
          }),
        name: (wanted, listenerPort, tcp) => this.#clusterFor(wanted, listenerPort, tcp),
        nameOf: (destination) => this.#named(destination),
        use: ({ name, request }) => used.set(name, request),
        hashes: (wanted) => this.#hashes(wanted),
        naming: this.#naming,
        cache: this.#cache,
        groups: (name, content) => groups.set(name, content),
      });
      this.tables.Destination.set(key, message);
    }
    this.#clusters.use(key, used);
    const { added, unused } = this.#groupsOfService.set(key, new Set(groups.keys()));
    for (const name of added) this.tables.RouteGroup.set(name, groups.get(name)?.() ?? new Uint8Array());
    for (const name of unused) this.tables.RouteGroup.delete(name);
  }

  #limitsFor(targets: readonly Target[], used: Map<string, ClusterRequest>): (port: number) => PortLimits {
    const patches = this.#world.envoyFilters.patchesFor(targets);
    if (patches.length === 0) return () => NO_LIMITS;
    return (port) =>
      limitsOfPort(patches, port, ({ host, port: number }) => {
        const request = { host, subset: "", port: number, tcp: false, grpc: true };
        const { name } = this.#name(request);
        used.set(name, request);
        return name;
      });
  }

  #namer(used: Map<string, ClusterRequest>): ClusterNamer {
    return (destination) => {
      const { name, request } = this.#named(destination);
      used.set(name, request);
      return name;
    };
  }

  #named({ hostname, port, session, grpc = false }: BackendDestination): NamedCluster {
    return this.#name({
      host: hostname,
      subset: "",
      port,
      tcp: false,
      grpc,
      ...(session === undefined ? {} : { session }),
    });
  }

  #clusterFor(target: HostPort, listenerPort: number, tcp: boolean): NamedCluster {
    const { host, subset } = target;
    const ports = this.#clusters.definitionOf(host)?.ports ?? [];
    const port = target.port ?? (ports.length === 1 ? ports[0]?.number : undefined) ?? listenerPort;
    return this.#name({ host, subset, port, tcp, grpc: false });
  }

  /** As Istio's access logs call them: `inbound-vip|9080|http/v1|reviews...` here, `outbound|...` elsewhere. */
  #name(request: ClusterRequest): NamedCluster {
    const { host, subset, port, tcp, session, grpc } = request;
    const definition = this.#clusters.definitionOf(host);
    const declared = definition?.ports.find(({ number }) => number === port)?.appProtocol;
    const variant = [
      ...(subset === "" ? [] : [subset]),
      ...(grpc && declared !== AppProtocol.GRPC && declared !== AppProtocol.HTTP2 ? ["grpc"] : []),
      ...(session === undefined ? [] : [`session-${sessionHash(session)}`]),
    ];
    const bound = definition !== undefined && this.#services.has(`${definition.namespace}/${definition.hostname}`);
    const name = bound
      ? `inbound-vip|${port}|${[tcp ? "tcp" : "http", ...variant].join("/")}|${host}`
      : `outbound|${port}|${variant.join("/")}|${host}`;
    return { name, request };
  }

  #hashes({ host, subset, port }: HostPort): boolean {
    const definition: ServiceDefinition | undefined = this.#clusters.definitionOf(host);
    const rule = definition && this.#clusters.ruleOf(definition);
    const own = rule?.subsets.get(subset)?.policy;
    const blocks = (policy: typeof own) => (port === undefined ? undefined : policy?.ports.get(port)) ?? policy;
    const balancer = blocks(own)?.loadBalancer ?? blocks(rule?.policy)?.loadBalancer;
    return (balancer?.message.hash.length ?? 0) > 0;
  }

  #deriveWorkload(uid: string): void {
    const workload = this.#workloads.has(uid) ? workloadOf(this.#world, uid) : undefined;
    const { model, config } = this.#world;
    const names = new Set<string>();
    const used = new Map<string, ClusterRequest>();
    if (workload === undefined) {
      this.tables.Destination.delete(uid);
    } else {
      const retry = config.retry === undefined ? DEFAULT_RETRY : config.retry;
      const labels = model.served.labelsOf(uid) ?? {};
      const extras = {
        telemetry: this.#telemetryOfNamespace(workload.namespace),
        limits: this.#limitsFor(this.#ownTargets(), used),
      };
      const program = compileWorkload(workload, labels, (key) => model.definition(key), retry, extras);
      this.tables.Destination.set(uid, toBinary(DestinationSchema, program.destination));
      for (const cluster of program.clusters) {
        this.tables.Cluster.set(cluster.name, toBinary(ClusterSchema, cluster));
        names.add(cluster.name);
      }
      for (const each of program.endpoints) this.tables.Endpoints.set(each.cluster, toBinary(EndpointsSchema, each));
    }
    this.#clusters.use(uid, used);
    for (const gone of this.#clustersOfWorkload.replace(uid, names)) {
      this.tables.Cluster.delete(gone);
      this.tables.Endpoints.delete(gone);
    }
  }

  #deriveSettings(): void {
    const { model, config, policies } = this.#world;
    const { namespace, name } = this.waypoint;
    const targets = this.#ownTargets();
    this.#missesProvider = false;
    const settings = create(SettingsSchema, {
      trustDomain: config.trustDomain ?? model.settings.trustDomain,
      trustDomainAliases: [...config.trustDomainAliases],
      clusterId: model.settings.clusterId,
      pathNormalization: config.pathNormalization,
      trustedProxies: config.trustedProxies,
      xfccFromPeer: this.#xfccFromPeer,
      proxyName: `${name}.${namespace}`,
      telemetry: OWN_TELEMETRY,
      policies: targets.flatMap((target) => policies?.policiesFor(target) ?? []),
      jwt: targets.flatMap((target) => policies?.jwtFor(target) ?? []),
    });
    this.tables.Settings.set(SETTINGS, toBinary(SettingsSchema, settings));
    this.#derivePolicies(targets);
    this.#deriveTelemetry(targets);
  }

  #ownTargets(): Target[] {
    const { namespace, name, gatewayClass } = this.waypoint;
    return [
      { kind: "Gateway", namespace, name },
      { kind: "GatewayClass", namespace: "", name: gatewayClass },
    ];
  }

  /** Empty: the waypoint's own. */
  #telemetryName(target: Target): string {
    if (this.#world.telemetry.ofTarget(target) !== undefined) return targetKey(target);
    return this.#telemetryOfNamespace(target.namespace);
  }

  #telemetryOfNamespace(namespace: string): string {
    return namespace === this.waypoint.namespace ? "" : `Namespace/${namespace}`;
  }

  /** Of the waypoint, of the other namespaces it serves, and of services that have their own. */
  #deriveTelemetry(own: readonly Target[]): void {
    const { telemetry, config, model } = this.#world;
    // The class is the outer of both.
    const outer = own.toReversed();
    const wanted = new Map([[OWN_TELEMETRY, telemetry.layers(this.waypoint.namespace, outer)]]);
    for (const key of this.#services) {
      const definition = model.definition(key);
      if (definition === undefined) continue;
      const { source, namespace, name } = definition;
      const target: Target = { kind: source, namespace, name };
      const telemetryName = this.#telemetryName(target);
      if (telemetryName === "" || wanted.has(telemetryName)) continue;
      const inner = telemetryName === targetKey(target) ? [target] : [];
      wanted.set(telemetryName, telemetry.layers(namespace, [...outer, ...inner]));
    }
    for (const uid of this.#workloads) {
      const namespace = workloadOf(this.#world, uid)?.namespace ?? this.waypoint.namespace;
      const name = this.#telemetryOfNamespace(namespace);
      if (name !== "" && !wanted.has(name)) wanted.set(name, telemetry.layers(namespace, outer));
    }
    const used = new Map<string, ClusterRequest>();
    this.#telemetryOrigins.clear();
    for (const [name, layers] of wanted) {
      this.#telemetryOrigins.set(
        name,
        layers.map((layer): ObjectId => `Telemetry/${layer.namespace}/${layer.name}`),
      );
      const message = compileTelemetry(name, layers, config, (tracer) => this.#collector(used, tracer));
      this.tables.Telemetry.set(name, toBinary(TelemetrySchema, message));
    }
    for (const name of [...this.tables.Telemetry.names()]) if (!wanted.has(name)) this.tables.Telemetry.delete(name);
    this.#clusters.use(TELEMETRY_USER, used);
  }

  #collector(used: Map<string, ClusterRequest>, { service, exporter, anyHost }: Tracer): string {
    return this.#provider(used, service, exporter.case === "otlp" && exporter.value.http !== true, anyHost);
  }

  /** A service that is not there yet is known by its host until then. */
  #provider(used: Map<string, ClusterRequest>, service: ProviderService, grpc: boolean, anyHost = false): string {
    const { model } = this.#world;
    const definition = providerDefinition(service, model.serviceLookup, model.settings.clusterDomain);
    if (definition === undefined) this.#missesProvider = true;
    const request = {
      host: definition?.hostname ?? service.host,
      subset: "",
      port: service.port,
      tcp: false,
      grpc,
      ...(anyHost ? { anyHost: true as const } : {}),
    };
    const { name } = this.#name(request);
    used.set(name, request);
    return name;
  }

  /** Those of the waypoint and of what is bound to it. */
  #derivePolicies(own: readonly Target[]): void {
    const { model, policies } = this.#world;
    const targets = [...own];
    for (const key of this.#services) {
      const definition = model.definition(key);
      if (definition !== undefined)
        targets.push({ kind: definition.source, namespace: definition.namespace, name: definition.name });
    }
    const used = new Map<string, ClusterRequest>();
    const wanted = new Set<string>();
    const rules = new Set<string>();
    for (const target of targets) {
      for (const each of policies?.policiesFor(target) ?? []) wanted.add(each);
      for (const each of policies?.jwtFor(target) ?? []) rules.add(each);
    }
    for (const name of wanted) {
      const policy = policies?.policy(name, this.#namer(used));
      if (policy !== undefined) this.tables.Policy.set(name, toBinary(PolicySchema, policy));
    }
    for (const name of rules) {
      const jwt = policies?.jwt(name);
      if (jwt !== undefined) this.tables.Jwt.set(name, toBinary(JwtSchema, jwt));
    }
    for (const name of [...this.tables.Policy.names()]) if (!wanted.has(name)) this.tables.Policy.delete(name);
    for (const name of [...this.tables.Jwt.names()]) if (!rules.has(name)) this.tables.Jwt.delete(name);
    this.#clusters.use(POLICY_USER, used);
  }
}

function originsOf({ ports }: Destination): ObjectId[] {
  const chains = ports.flatMap(({ chain }) => (chain === undefined ? [] : [chain]));
  const origins = chains.flatMap(({ http, tls, tcp }) => [
    ...(http?.hosts ?? []).flatMap(({ routes }) => routes.map(originOf)),
    ...tls.map(({ route }) => route?.origin ?? ""),
    ...tcp.map(({ origin }) => origin),
  ]);
  return objectsAmong(origins);
}

function originOf({ origin }: { readonly origin: string }): string {
  return origin;
}

function objectsAmong(origins: readonly string[]): ObjectId[] {
  return [...new Set(origins)].filter((origin): origin is ObjectId => origin.split("/").length === 3);
}

function hostOf(key: string): string {
  return key.slice(key.indexOf("/") + 1);
}

function sessionHash(session: NonNullable<ClusterRequest["session"]>): string {
  return hash("sha1", toBinary(SessionPersistenceSchema, session), "hex").slice(0, SESSION_HEX_DIGITS);
}

/** What is in one of both. */
function* difference(a: ReadonlySet<string>, b: ReadonlySet<string>): Generator<string> {
  for (const each of a) if (!b.has(each)) yield each;
  for (const each of b) if (!a.has(each)) yield each;
}
