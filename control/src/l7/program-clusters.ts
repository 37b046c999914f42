/** The clusters of one waypoint's program: those that its routes and policies name, and no others. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { serviceKey } from "#lib/xds/types.ts";
import {
  type ClientTls,
  ClientTlsSchema,
  ClusterSchema,
  EndpointsSchema,
  type SessionPersistence,
} from "#proto/l7_pb.ts";
import { AddressSchema, type Workload } from "#proto/workload_pb.ts";
import type { GatewayFacts } from "../model/gateway.ts";
import { OwnedNames } from "../model/owned-names.ts";
import type { ResourceTable } from "../model/resource-table.ts";
import type { ServiceDefinition } from "../model/service-definition.ts";
import type { ObjectId } from "../status/remarks.ts";
import { clientCertificateOf } from "./backend-tls/client-certificate.ts";
import { backendTlsPlan } from "./backend-tls/plan.ts";
import { type ClusterTarget, compileCluster, compileEndpoints, type LabelledWorkload } from "./cluster.ts";
import { resolveTls, type TlsPlan, type TlsProblem } from "./credentials/client-tls.ts";
import { type CredentialRef, credentialKey } from "./credentials/credential-ref.ts";
import { blocksFor, type MergedRule } from "./istio/destination-rule-index.ts";
import { destinationRuleTls } from "./istio/tls-plan.ts";
import type { TrafficBlocks } from "./istio/traffic-policy.ts";
import { hostCovers, wildcardsOf } from "./istio/values.ts";
import type { L7World } from "./l7-world.ts";
import { References } from "./references.ts";

/** What a route asks for. */
export interface ClusterRequest {
  readonly host: string;
  readonly subset: string;
  readonly port: number;
  readonly tcp: boolean;
  readonly session?: SessionPersistence;
  readonly grpc: boolean;
  /** Where no service has this host, the waypoint looks it up by name. */
  readonly anyHost?: true;
}

export interface WaypointName {
  readonly namespace: string;
  readonly name: string;
}

/** A request, and what its cluster is called. */
export interface NamedCluster {
  readonly name: string;
  readonly request: ClusterRequest;
}

export interface ClusterTables {
  readonly clusters: ResourceTable;
  readonly endpoints: ResourceTable;
}

const NO_LABELS = {};
/** Of a DestinationRule: present only while something that it names cannot be had. */
export const RESOLVED_REFS = "ResolvedRefs";
const NOT_YET = create(ClientTlsSchema, { unusable: "its certificates are being read" });

export class ProgramClusters {
  readonly #world: L7World;
  readonly #waypoint: WaypointName;
  readonly #tables: ClusterTables;
  readonly #references = new References();
  readonly #requests = new Map<string, ClusterRequest>();
  readonly #namesOfHost = new OwnedNames();
  readonly #dirty = new Set<string>();
  readonly #dirtyEndpoints = new Set<string>();
  /** What certificates of a cluster come from. */
  readonly #credentials = new Map<string, readonly CredentialRef[]>();

  constructor(world: L7World, waypoint: WaypointName, tables: ClusterTables) {
    this.#world = world;
    this.#waypoint = waypoint;
    this.#tables = tables;
  }

  /** The service behind a host, or the one of a wildcard that covers it. */
  definitionOf(host: string): ServiceDefinition | undefined {
    const { model } = this.#world;
    const exact = model.serviceLookup.host(host, this.#waypoint.namespace);
    if (exact !== undefined) return exact;
    for (const wildcard of wildcardsOf(host)) {
      const definition = model.serviceLookup.host(wildcard, this.#waypoint.namespace);
      if (definition !== undefined) return definition;
    }
    return undefined;
  }

  ruleOf(definition: ServiceDefinition): MergedRule | undefined {
    const { destinationRules, config, model } = this.#world;
    return destinationRules.forHost(
      definition.hostname,
      { client: this.#waypoint.namespace, service: definition.namespace, root: model.settings.rootNamespace },
      config.destinationRuleExportTo,
    );
  }

  /** Exactly these are used by `user`. */
  use(user: string, wanted: ReadonlyMap<string, ClusterRequest>): void {
    const { added, unused } = this.#references.set(user, new Set(wanted.keys()));
    for (const name of added) {
      const request = wanted.get(name) as ClusterRequest;
      this.#requests.set(name, request);
      this.#namesOfHost.add(request.host, name);
      this.#dirty.add(name);
    }
    for (const name of unused) {
      const request = this.#requests.get(name);
      if (request !== undefined) this.#namesOfHost.remove(request.host, name);
      this.#requests.delete(name);
      this.#dirty.add(name);
    }
  }

  /** Who uses a cluster of a host. */
  *usersOf(host: string): Generator<string> {
    for (const name of this.#namesOfHost.of(host)) yield* this.#references.usersOf(name);
  }

  markHost(pattern: string): void {
    if (!pattern.startsWith("*")) {
      for (const name of this.#namesOfHost.of(pattern)) this.#dirty.add(name);
      return;
    }
    for (const [name, { host }] of this.#requests) if (hostCovers(pattern, host)) this.#dirty.add(name);
  }

  markEndpoints(host: string): void {
    for (const name of this.#namesOfHost.of(host)) this.#dirtyEndpoints.add(name);
  }

  markEverything(): void {
    for (const name of this.#requests.keys()) this.#dirty.add(name);
  }

  markCredential(key: string): void {
    this.#markCredentials((ref) => credentialKey(ref) === key);
  }

  /** Something in this namespace may be named by others now, or not any more. */
  markGrants(namespace: string): void {
    this.#markCredentials((ref) => ref.namespace === namespace);
  }

  #markCredentials(concerned: (ref: CredentialRef) => boolean): void {
    for (const [name, refs] of this.#credentials) if (refs.some(concerned)) this.#dirty.add(name);
  }

  /** Nobody asks for the program any more. */
  close(): void {
    for (const name of [...this.#credentials.keys()]) this.#wantCredentials(name, []);
    for (const name of [...this.#requests.keys()]) this.#remark(name, undefined);
  }

  flush(): void {
    for (const name of this.#dirty) this.#dirtyEndpoints.add(name);
    for (const name of this.#dirtyEndpoints) {
      try {
        this.#derive(name);
      } catch (error) {
        this.#world.failed("cluster", name, error);
      }
    }
    this.#dirty.clear();
    this.#dirtyEndpoints.clear();
  }

  /** A host, port or subset that is not there has no cluster: the engine answers for it. */
  #derive(name: string): void {
    const { clusters, endpoints } = this.#tables;
    const request = this.#requests.get(name);
    const definition = request && this.definitionOf(request.host);
    if (request?.anyHost === true && definition === undefined) {
      this.#deriveByName(name, request);
      return;
    }
    const port = definition?.ports.find(({ number }) => number === request?.port);
    const rule = definition && this.ruleOf(definition);
    const subset = rule?.subsets.get(request?.subset ?? "");
    if (
      request === undefined ||
      definition === undefined ||
      port === undefined ||
      (request.subset !== "" && subset === undefined)
    ) {
      this.#wantCredentials(name, []);
      this.#remark(name, undefined);
      clusters.delete(name);
      endpoints.delete(name);
      return;
    }
    const { config, model } = this.#world;
    const target: ClusterTarget = {
      name,
      definition,
      port,
      subset: request.subset,
      ...(request.session === undefined ? {} : { session: request.session }),
      grpc: request.grpc,
    };
    const blocks = blocksFor(rule, request.subset, port.number, config.trafficPolicy);
    const tls = this.#tls(name, target, blocks, rule);
    // What is in force stays until all is known of what is to take its place.
    if (tls === "loading" && clusters.get(name) !== undefined) return;
    const distribution = model.namespaces.get(`/${definition.namespace}`)?.trafficDistribution;
    const cluster = compileCluster(target, blocks, config, distribution, tls === "loading" ? NOT_YET : tls);
    if (this.#dirty.has(name)) clusters.set(name, toBinary(ClusterSchema, cluster));
    const priorities = cluster.loadBalancer?.locality?.failoverPriority ?? [];
    const key = serviceKey(definition.namespace, definition.hostname);
    const compiled = compileEndpoints(
      target,
      key,
      this.#workloads(key),
      subset?.labels ?? NO_LABELS,
      blocks,
      priorities,
    );
    endpoints.set(name, toBinary(EndpointsSchema, compiled));
  }

  #tls(
    name: string,
    target: ClusterTarget,
    blocks: TrafficBlocks,
    rule: MergedRule | undefined,
  ): ClientTls | "loading" | undefined {
    const plan = this.#tlsPlan(target, blocks, rule);
    const resolved = plan && resolveTls(plan, this.#world.credentials);
    this.#wantCredentials(name, resolved?.refs ?? []);
    this.#remark(name, resolved?.problem);
    return resolved && (resolved.tls ?? "loading");
  }

  /** The server's own word counts before that of those who talk to it. */
  #tlsPlan(
    { definition, port }: ClusterTarget,
    { tls }: TrafficBlocks,
    rule: MergedRule | undefined,
  ): TlsPlan | undefined {
    const { grants, model, backendTls } = this.#world;
    const policy = backendTls.forPort(definition, port);
    if (policy !== undefined) return backendTlsPlan(policy, clientCertificateOf(this.#gateway(), grants));
    if (tls?.kind !== "tls") return undefined;
    const { rootNamespace } = model.settings;
    return destinationRuleTls(tls, {
      waypointNamespace: this.#waypoint.namespace,
      rootNamespace,
      // Without a rule it is the mesh's configuration that says so.
      ruleNamespace: rule?.namespace ?? rootNamespace,
      grants,
    });
  }

  #gateway(): GatewayFacts | undefined {
    const { namespace, name } = this.#waypoint;
    return this.#world.model.gateways.get(`${namespace}/${name}`);
  }

  /** What a cluster is made of, beside its service. */
  sourcesOf(name: string): readonly ObjectId[] {
    const request = this.#requests.get(name);
    const definition = request && this.definitionOf(request.host);
    if (request === undefined || definition === undefined) return [];
    const port = definition.ports.find(({ number }) => number === request.port);
    const policy = port && this.#world.backendTls.forPort(definition, port);
    const rule = this.ruleOf(definition);
    return [
      ...(policy === undefined ? [] : [`BackendTLSPolicy/${policy.namespace}/${policy.name}` as const]),
      ...(rule?.names ?? []).map((each) => `DestinationRule/${rule?.namespace}/${each}` as const),
    ];
  }

  /** Policies have statuses of their own kind for this. */
  #remark(name: string, problem: TlsProblem | undefined): void {
    const { namespace, name: waypoint } = this.#waypoint;
    const rules =
      problem === undefined ? [] : this.sourcesOf(name).filter((each) => each.startsWith("DestinationRule/"));
    this.#world.remark(
      `tls of ${namespace}/${waypoint} ${name}`,
      rules.map((object) => {
        const message = `at waypoint ${namespace}/${waypoint}: ${problem?.message}; nothing is sent without it`;
        return { object, condition: { type: RESOLVED_REFS, status: "False", reason: problem?.reason ?? "", message } };
      }),
    );
  }

  #wantCredentials(name: string, refs: readonly CredentialRef[]): void {
    if (refs.length === 0 && !this.#credentials.has(name)) return;
    if (refs.length === 0) this.#credentials.delete(name);
    else this.#credentials.set(name, refs);
    const { namespace, name: waypoint } = this.#waypoint;
    this.#world.credentials.want(`${namespace}/${waypoint} ${name}`, refs);
  }

  #deriveByName(name: string, { host, port }: ClusterRequest): void {
    const { clusters, endpoints } = this.#tables;
    clusters.set(name, toBinary(ClusterSchema, create(ClusterSchema, { name, port, serviceHostname: host })));
    const hosts = create(EndpointsSchema, { cluster: name, endpoints: [{ hostname: host, port }] });
    endpoints.set(name, toBinary(EndpointsSchema, hosts));
  }

  *#workloads(key: string): Generator<LabelledWorkload> {
    for (const uid of this.#world.model.served.uidsOf(key)) {
      const workload = workloadOf(this.#world, uid);
      if (workload !== undefined) yield { workload, labels: this.#world.model.served.labelsOf(uid) ?? NO_LABELS };
    }
  }
}

/** As the model has derived it. */
export function workloadOf(world: L7World, uid: string): Workload | undefined {
  const resource = world.model.addresses.get(uid);
  if (resource === undefined) return undefined;
  const { type } = fromBinary(AddressSchema, resource.message);
  return type.case === "workload" ? type.value : undefined;
}
