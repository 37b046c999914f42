/**
 * The one model: Kubernetes objects in, wire resources out. Each input change marks what is derived from it; `flush`
 * derives just that again. What is derived is a pure function of the inputs, so the order of changes does not matter.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, podUid, policyKey, serviceKey } from "#lib/xds/types.ts";
import { type Authorization, AuthorizationSchema } from "#proto/authorization_pb.ts";
import { AddressSchema, type PortList, type Service, type Workload } from "#proto/workload_pb.ts";
import type { AuthorizationPolicyFacts } from "./authorization-policy.ts";
import { BoundObjects } from "./bound-objects.ts";
import { Collection } from "./collection.ts";
import { type DefinitionChange, DefinitionIndex, keyOfDefinition } from "./definition-index.ts";
import { DirtySets } from "./dirty-sets.ts";
import type { EndpointFacts } from "./endpoint.ts";
import type { EndpointSliceFacts } from "./endpoint-slice.ts";
import { type GatewayClassFacts, type GatewayFacts, WAYPOINT_FOR_LABEL } from "./gateway.ts";
import { type LocalityFacts, localityOfNode } from "./locality.ts";
import { keyOf, type Labels, type Meta } from "./meta.ts";
import { OwnedNames } from "./owned-names.ts";
import {
  convertedPolicy,
  type PeerAuthenticationFacts,
  STATIC_STRICT_NAME,
  staticStrict,
} from "./peer-authentication.ts";
import type { PodFacts } from "./pod.ts";
import { PolicyIndex } from "./policy-index.ts";
import { ResourceTable, type TableChange } from "./resource-table.ts";
import type { ScopeFacts } from "./scope.ts";
import { selects } from "./selector-index.ts";
import { ServedWorkloads } from "./served-workloads.ts";
import { type ServiceDefinition, serviceMessage } from "./service-definition.ts";
import type { ServiceEntryFacts } from "./service-entry.ts";
import type { ServiceLookup } from "./service-lookup.ts";
import type { MeshSettings } from "./settings.ts";
import {
  type Binding,
  gatewayAddress,
  Waypoints,
  type WaypointWishes,
  waypointPolicy,
  waypointPolicyKey,
  waypointWish,
  waypointWishes,
  weightedWaypoints,
} from "./waypoints.ts";
import {
  endpointPorts,
  endpointWorkload,
  podPorts,
  podWorkload,
  slicePorts,
  type WorkloadContext,
} from "./workload.ts";

/** What one flush changed. */
export interface ModelChange {
  readonly addresses: TableChange;
  readonly authorizations: TableChange;
  /** Keys of Gateways that have other services or workloads behind them now. */
  readonly bound: ReadonlySet<string>;
  /** Keys of services that are defined otherwise than before, or not at all any more. */
  readonly definitions: ReadonlySet<string>;
  /** Keys of services with other workloads than before. */
  readonly served: ReadonlySet<string>;
}

export interface ModelEvents {
  /** There is something to flush. */
  readonly onDirty?: () => void;
  /** A fault of ours: what is derived from this object is out of date. */
  readonly onFailure?: (kind: string, key: string, error: unknown) => void;
  /** A Gateway, or one that has the key no more, or its class has changed. */
  readonly onGateway?: (key: string) => void;
  /** A class may have to be made or accepted. */
  readonly onGatewayClass?: (name: string) => void;
  /** A definition names a waypoint, or (undefined) none. */
  readonly onBinding?: (definition: ServiceDefinition, binding: Binding | undefined) => void;
}

/** One of both is there. */
export type ServiceListener = (before: ServiceDefinition | undefined, after: ServiceDefinition | undefined) => void;

/** Objects that are derived between two looks at the clock. */
const BETWEEN_LOOKS = 64;
const NETWORK_LABEL = "topology.istio.io/network";

export class MeshModel {
  readonly settings: MeshSettings;
  readonly addresses = new ResourceTable(ADDRESS_TYPE, { versioned: true });
  readonly authorizations = new ResourceTable(AUTHORIZATION_TYPE, { versioned: false });

  readonly namespaces = new Collection<ScopeFacts>((before, after) => this.#onNamespace(before, after));
  readonly nodes = new Collection<ScopeFacts>((before, after) => this.#onNode(before, after));
  readonly pods = new Collection<PodFacts>((before, after) => this.#onPod(before, after));
  readonly services = new Collection<ServiceDefinition>((before, after) => this.#onService(before, after));
  readonly endpointSlices = new Collection<EndpointSliceFacts>((before, after) => this.#onSlice(before, after));
  readonly serviceEntries = new Collection<ServiceEntryFacts>((before, after) => this.#onServiceEntry(before, after));
  readonly workloadEntries = new Collection<EndpointFacts>((before, after) => this.#onWorkloadEntry(before, after));
  readonly authorizationPolicies = new Collection<AuthorizationPolicyFacts>((b, a) => this.#onPolicy(b, a));
  readonly peerAuthentications = new Collection<PeerAuthenticationFacts>((b, a) => this.#onPeerAuthentication(b, a));
  readonly gateways = new Collection<GatewayFacts>((before, after) => this.#onGateway(before, after));
  readonly gatewayClasses = new Collection<GatewayClassFacts>((before, after) => this.#onGatewayClass(before, after));
  readonly waypoints: Waypoints = new Waypoints(this);
  /** Services and workloads by the waypoint that they are behind. */
  readonly bound = new BoundObjects();
  /** Not part of any resource: the certificate authority asks for them. */
  readonly serviceAccounts = new Collection<Meta>(() => this.#tellIdentityListeners());

  readonly served = new ServedWorkloads();
  readonly #definitions = new DefinitionIndex();
  readonly #policies: PolicyIndex;
  readonly #podsOfNode = new OwnedNames();
  readonly #slicesOfPod = new OwnedNames();
  readonly #workloadsOf = new OwnedNames();
  readonly #convertedOf = new OwnedNames();
  readonly #dirty: DirtySets;
  readonly #events: ModelEvents;
  readonly #identityListeners = new Set<() => void>();
  readonly #serviceListeners = new Set<ServiceListener>();
  readonly #serviceLookup: ServiceLookup = {
    service: (namespace, name) => this.services.get(`${namespace}/${name}`),
    serviceEntry: (namespace, name) => this.serviceEntries.get(`${namespace}/${name}`)?.definitions ?? [],
    host: (hostname, namespace) => this.#definitions.visible(hostname, namespace),
  };

  constructor(settings: MeshSettings, events: ModelEvents = {}) {
    this.settings = settings;
    this.#events = events;
    this.#policies = new PolicyIndex(settings.rootNamespace);
    this.#dirty = new DirtySets(() => events.onDirty?.());
  }

  /** The name of this cluster's address space. */
  get network(): string {
    return this.namespaces.get(`/${this.settings.rootNamespace}`)?.labels[NETWORK_LABEL] ?? "";
  }

  /** Services as users' resources name them. */
  get serviceLookup(): ServiceLookup {
    return this.#serviceLookup;
  }

  /** `listener` is told of each definition that an object gave, gave otherwise, or gives no more; until the function is called. */
  onServiceChange(listener: ServiceListener): () => void {
    this.#serviceListeners.add(listener);
    return () => this.#serviceListeners.delete(listener);
  }

  /** The definition in force. */
  definition(key: string): ServiceDefinition | undefined {
    return this.#definitions.active(key);
  }

  *podsOnNode(node: string): Generator<PodFacts> {
    for (const key of this.#podsOfNode.of(node)) {
      const pod = this.pods.get(key);
      if (pod !== undefined) yield pod;
    }
  }

  /** `listener` is called after each change of a pod or service account, until the returned function is. */
  onIdentityChange(listener: () => void): () => void {
    this.#identityListeners.add(listener);
    return () => this.#identityListeners.delete(listener);
  }

  #tellIdentityListeners(): void {
    for (const listener of this.#identityListeners) listener();
  }

  /** False: the last flush has left something for the next one. */
  get settled(): boolean {
    return this.#dirty.pods.size === 0;
  }

  /**
   * Derives what has changed since the last flush. Pods may be very many: after `budgetMs` those that are left wait for
   * the next flush, so that others get a turn, and until then no policy goes that they may still name.
   */
  flush(budgetMs = Number.POSITIVE_INFINITY): ModelChange {
    const deadline = performance.now() + budgetMs;
    if (this.#dirty.everything) this.#includeEverything();
    this.#dirty.record();
    const definitions = new Set(this.#dirty.services);
    this.#derive("Gateway", this.#dirty.gateways, (key) => this.#deriveGateway(key));
    this.#derive("AuthorizationPolicy", this.#dirty.policies, (key) => this.#derivePolicy(key));
    this.#derive("PeerAuthentication", this.#dirty.peerNamespaces, (namespace) => this.#deriveConverted(namespace));
    this.#deriveStaticStrict();
    this.#derive("Service", this.#dirty.services, (key) => this.#deriveService(key));
    this.#derive("WorkloadEntry", this.#dirty.workloadEntries, (key) => this.#deriveWorkloadEntry(key));
    this.#derive("ServiceEntry", this.#dirty.serviceEntries, (key) => this.#deriveServiceEntry(key));
    this.#derive("EndpointSlice", this.#dirty.slices, (key) => this.#deriveSlice(key));
    this.#derive("Pod", this.#dirty.pods, (key) => this.#derivePod(key), deadline);
    return {
      addresses: this.addresses.takeChange(),
      authorizations: this.settled ? this.authorizations.takeChange() : this.authorizations.takeAdditions(),
      bound: this.bound.takeChange(),
      definitions,
      served: this.served.takeChanged(),
    };
  }

  // ---- what a change of an input touches ------------------------------------------------------------------------

  #onNamespace(before: ScopeFacts | undefined, after: ScopeFacts | undefined): void {
    const name = (after ?? before)?.name ?? "";
    if (name === this.settings.rootNamespace && before?.labels[NETWORK_LABEL] !== after?.labels[NETWORK_LABEL]) {
      this.#dirty.markEverything();
    }
    if (before?.trafficDistribution !== after?.trafficDistribution) {
      for (const key of this.#definitions.keysOfNamespace(name)) this.#dirty.mark("services", key);
    }
    // Which waypoint its objects want, and which waypoints want them.
    if (!sameLabels(before?.labels, after?.labels) || before?.canary?.weight !== after?.canary?.weight)
      this.#markBindings(name, () => true);
  }

  #onGateway(before: GatewayFacts | undefined, after: GatewayFacts | undefined): void {
    const key = keyOf((after ?? before) as GatewayFacts);
    this.#events.onGateway?.(key);
    // A status that was written says nothing new.
    if (before?.generation === after?.generation && before?.uid === after?.uid && sameMetadata(before, after)) return;
    this.#markGateway(key);
  }

  #onGatewayClass(before: GatewayClassFacts | undefined, after: GatewayClassFacts | undefined): void {
    const { name } = (after ?? before) as GatewayClassFacts;
    this.#events.onGatewayClass?.(name);
    const waypointFor = (facts: GatewayClassFacts | undefined) => facts?.labels[WAYPOINT_FOR_LABEL];
    if (before?.controllerName === after?.controllerName && waypointFor(before) === waypointFor(after)) return;
    for (const gateway of this.gateways.values()) {
      if (gateway.className !== name) continue;
      this.#events.onGateway?.(keyOf(gateway));
      this.#markGateway(keyOf(gateway));
    }
  }

  #markGateway(key: string): void {
    this.#dirty.mark("gateways", key);
    this.#markBindings(undefined, (namespace, own) => this.waypoints.names(key, namespace, own));
  }

  /** Everything whose binding may differ now, in one namespace or in all, and the workloads behind those services. */
  #markBindings(namespace: string | undefined, concerned: (namespace: string, own: WaypointWishes) => boolean): void {
    if (this.#dirty.everything) return;
    const keys = namespace === undefined ? this.#definitions.keys() : this.#definitions.keysOfNamespace(namespace);
    for (const key of keys) {
      const definition = this.#definitions.active(key);
      if (definition === undefined || !concerned(definition.namespace, definition)) continue;
      this.#dirty.mark("services", key);
      if (this.settings.autoAllowWaypoint) this.#markBehind(definition);
    }
    const wants = ({ labels, namespace: own }: { labels: Labels; namespace: string }) =>
      concerned(own, waypointWishes(labels, undefined, own));
    this.#dirty.markAll("pods", this.pods.keysOf(namespace, wants));
    this.#dirty.markAll("workloadEntries", this.workloadEntries.keysOf(namespace, wants));
  }

  #onNode(before: ScopeFacts | undefined, after: ScopeFacts | undefined): void {
    if (sameLocality(before && localityOfNode(before.labels), after && localityOfNode(after.labels))) return;
    for (const key of this.#podsOfNode.of((after ?? before)?.name ?? "")) this.#dirty.mark("pods", key);
  }

  #onPod(before: PodFacts | undefined, after: PodFacts | undefined): void {
    const key = keyOf((after ?? before) as PodFacts);
    if (before?.node !== after?.node) {
      if (before?.node) this.#podsOfNode.remove(before.node, key);
      if (after?.node) this.#podsOfNode.add(after.node, key);
    }
    this.#dirty.mark("pods", key);
    this.#tellIdentityListeners();
  }

  #onService(before: ServiceDefinition | undefined, after: ServiceDefinition | undefined): void {
    const source = `Service/${keyOf((after ?? before) as ServiceDefinition)}`;
    this.#onDefinitions(this.#definitions.set(source, after === undefined ? [] : [after]));
    for (const listener of this.#serviceListeners) listener(before, after);
  }

  #onServiceEntry(before: ServiceEntryFacts | undefined, after: ServiceEntryFacts | undefined): void {
    const key = keyOf((after ?? before) as ServiceEntryFacts);
    this.#onDefinitions(this.#definitions.set(`ServiceEntry/${key}`, after?.definitions ?? []));
    this.#dirty.mark("serviceEntries", key);
    this.#tellServiceListeners(before?.definitions ?? [], after?.definitions ?? []);
  }

  /** Of one ServiceEntry: one definition for each host. */
  #tellServiceListeners(before: readonly ServiceDefinition[], after: readonly ServiceDefinition[]): void {
    if (this.#serviceListeners.size === 0) return;
    const changes = new Map<string, [before: ServiceDefinition | undefined, after: ServiceDefinition | undefined]>();
    for (const definition of before) changes.set(definition.hostname, [definition, undefined]);
    for (const definition of after)
      changes.set(definition.hostname, [changes.get(definition.hostname)?.[0], definition]);
    for (const change of changes.values()) for (const listener of this.#serviceListeners) listener(...change);
  }

  #onDefinitions(changes: readonly DefinitionChange[]): void {
    for (const { before, after } of changes) {
      const some = (after ?? before) as ServiceDefinition;
      this.#dirty.mark("services", keyOfDefinition(some));
      // Which definition is canonical may have moved to another namespace.
      for (const key of this.#definitions.keysOfHost(some.hostname)) this.#dirty.mark("services", key);
      if (this.#dirty.everything) continue;
      for (const definition of [before, after]) if (definition !== undefined) this.#markBehind(definition);
    }
  }

  /** Workloads that are, or were, endpoints of a definition. */
  #markBehind(definition: ServiceDefinition): void {
    const { namespace, name, selector } = definition;
    if (selector !== undefined) this.#markSelected(namespace, selector);
    if (definition.source === "ServiceEntry") {
      this.#dirty.mark("serviceEntries", keyOf(definition));
      return;
    }
    for (const slice of this.endpointSlices.inNamespace(namespace)) {
      if (slice.service === name) this.#markSlice(slice);
    }
  }

  #onSlice(before: EndpointSliceFacts | undefined, after: EndpointSliceFacts | undefined): void {
    const key = keyOf((after ?? before) as EndpointSliceFacts);
    for (const pod of before?.pods ?? []) this.#slicesOfPod.remove(pod, key);
    for (const pod of after?.pods ?? []) this.#slicesOfPod.add(pod, key);
    for (const slice of [before, after]) if (slice !== undefined) this.#markSlice(slice);
  }

  #markSlice(slice: EndpointSliceFacts): void {
    this.#dirty.mark("slices", keyOf(slice));
    for (const pod of slice.pods) this.#dirty.mark("pods", pod);
  }

  #onWorkloadEntry(before: EndpointFacts | undefined, after: EndpointFacts | undefined): void {
    this.#dirty.mark("workloadEntries", keyOf((after ?? before) as EndpointFacts));
  }

  #onPolicy(before: AuthorizationPolicyFacts | undefined, after: AuthorizationPolicyFacts | undefined): void {
    this.#policies.setPolicy(before, after);
    this.#dirty.mark("policies", keyOf((after ?? before) as AuthorizationPolicyFacts));
    // Workloads carry the names of the policies that select them, nothing else of a policy.
    const was = before?.authorization === undefined ? undefined : before.selector;
    const is = after?.authorization === undefined ? undefined : after.selector;
    if (sameLabels(was, is)) return;
    const { namespace } = (after ?? before) as AuthorizationPolicyFacts;
    for (const selector of [was, is]) {
      if (selector === undefined) continue;
      this.#markSelected(namespace === this.settings.rootNamespace ? undefined : namespace, selector);
    }
  }

  #onPeerAuthentication(before: PeerAuthenticationFacts | undefined, after: PeerAuthenticationFacts | undefined): void {
    this.#policies.setPeerAuthentication(before, after);
    const { namespace } = (after ?? before) as PeerAuthenticationFacts;
    this.#dirty.mark("peerNamespaces", namespace);
    for (const policy of [before, after]) {
      if (policy === undefined) continue;
      if (policy.selector !== undefined) {
        this.#markSelected(namespace, policy.selector);
      } else if (namespace !== this.settings.rootNamespace) {
        this.#markSelected(namespace, {});
      } else {
        this.#markSelected(undefined, {});
        for (const other of this.peerAuthentications.values()) this.#dirty.mark("peerNamespaces", other.namespace);
      }
    }
  }

  /** Workloads with these labels, in one namespace or in all. */
  #markSelected(namespace: string | undefined, selector: Labels): void {
    if (this.#dirty.everything) return;
    const selected = ({ labels }: { labels: Labels }) => selects(selector, labels);
    this.#dirty.markAll("pods", this.pods.keysOf(namespace, selected));
    this.#dirty.markAll("workloadEntries", this.workloadEntries.keysOf(namespace, selected));
    const within = ({ endpoints }: ServiceEntryFacts) => endpoints.some(({ facts }) => selected(facts));
    this.#dirty.markAll("serviceEntries", this.serviceEntries.keysOf(namespace, within));
  }

  /** Adds all that is there to what is marked. */
  #includeEverything(): void {
    const { pods, services, workloadEntries, serviceEntries, slices, policies, peerNamespaces, gateways } = this.#dirty;
    for (const key of this.pods.keys()) pods.add(key);
    for (const key of this.#definitions.keys()) services.add(key);
    for (const key of this.workloadEntries.keys()) workloadEntries.add(key);
    for (const key of this.serviceEntries.keys()) serviceEntries.add(key);
    for (const key of this.endpointSlices.keys()) slices.add(key);
    for (const key of this.authorizationPolicies.keys()) policies.add(key);
    for (const { namespace } of this.peerAuthentications.values()) peerNamespaces.add(namespace);
    for (const key of this.gateways.keys()) gateways.add(key);
  }

  // ---- derivation -----------------------------------------------------------------------------------------------

  /** One object that cannot be derived must not stop the mesh: what was derived of it before stays. */
  #derive(kind: string, keys: Set<string>, derive: (key: string) => void, deadline = Number.POSITIVE_INFINITY): void {
    let count = 0;
    for (const key of keys) {
      keys.delete(key);
      try {
        derive(key);
      } catch (error) {
        this.#events.onFailure?.(kind, key, error);
      }
      if (++count % BETWEEN_LOOKS === 0 && performance.now() > deadline) return;
    }
  }

  #derivePolicy(key: string): void {
    const authorization = this.authorizationPolicies.get(key)?.authorization;
    if (authorization === undefined) this.authorizations.delete(key);
    else this.#setAuthorization(authorization);
  }

  #deriveGateway(key: string): void {
    const gateway = this.settings.autoAllowWaypoint ? this.waypoints.find(key) : undefined;
    if (gateway === undefined) this.authorizations.delete(waypointPolicyKey(key));
    else this.#setAuthorization(waypointPolicy(gateway));
  }

  #deriveConverted(namespace: string): void {
    const above = this.#policies.modeOf(namespace);
    const names = new Set<string>();
    for (const policy of this.peerAuthentications.inNamespace(namespace)) {
      const converted = convertedPolicy(policy, above, this.settings.rootNamespace);
      if (converted !== undefined) names.add(this.#setAuthorization(converted));
    }
    for (const gone of this.#convertedOf.replace(namespace, names)) this.authorizations.delete(gone);
  }

  #deriveStaticStrict(): void {
    const { rootNamespace } = this.settings;
    if (this.peerAuthentications.size > 0) this.#setAuthorization(staticStrict(rootNamespace));
    else this.authorizations.delete(policyKey(rootNamespace, STATIC_STRICT_NAME));
  }

  #setAuthorization(authorization: Authorization): string {
    const name = policyKey(authorization.namespace, authorization.name);
    this.authorizations.set(name, toBinary(AuthorizationSchema, authorization));
    return name;
  }

  #deriveService(key: string): void {
    const definition = this.#definitions.active(key);
    const binding = definition && this.#bindingOf(definition);
    this.bound.set("service", key, boundTo(binding));
    this.bound.set("canary", key, binding?.canary?.gateway);
    if (definition === undefined) {
      this.addresses.delete(key);
      return;
    }
    this.#events.onBinding?.(definition, binding);
    const value = serviceMessage(definition, {
      network: this.network,
      trafficDistribution: this.namespaces.get(`/${definition.namespace}`)?.trafficDistribution,
      canonical: this.#definitions.isCanonical(definition),
      waypoint: addressOf(binding),
      weightedWaypoints: weightedWaypoints(binding),
    });
    this.#setAddress(key, { case: "service", value });
  }

  #derivePod(key: string): void {
    const pod = this.pods.get(key);
    if (pod === undefined || pod.succeeded || pod.ips.length === 0) {
      const [namespace = "", name = ""] = key.split("/");
      this.#deleteWorkload(podUid(this.settings.clusterId, namespace, name));
      return;
    }
    const services = new Map<string, PortList>();
    for (const definition of this.#definitions.selecting(pod.namespace, pod.labels)) {
      services.set(keyOfDefinition(definition), podPorts(pod, definition));
    }
    for (const sliceKey of this.#slicesOfPod.of(key)) this.#addSliceService(services, sliceKey);
    const node = this.nodes.get(`/${pod.node}`);
    const locality = node && localityOfNode(node.labels);
    this.#setBoundWorkload(podWorkload(pod, this.#context(pod, locality, services)), pod);
  }

  #addSliceService(services: Map<string, PortList>, sliceKey: string): void {
    const slice = this.endpointSlices.get(sliceKey);
    const definition = slice && this.#definitionOfSlice(slice);
    // With a selector, only what is selected counts.
    if (slice === undefined || definition === undefined || definition.selector !== undefined) return;
    services.set(keyOfDefinition(definition), slicePorts(slice.ports, definition));
  }

  #deriveWorkloadEntry(key: string): void {
    const entry = this.workloadEntries.get(key);
    const uids = new Set<string>();
    if (entry !== undefined) {
      const services = new Map<string, PortList>();
      for (const definition of this.#definitions.selecting(entry.namespace, entry.labels)) {
        if (definition.source === "Service" && !this.settings.servicesSelectWorkloadEntries) continue;
        services.set(keyOfDefinition(definition), endpointPorts(entry, definition));
      }
      this.#setBoundWorkload(endpointWorkload(entry, this.#context(entry, entry.locality, services)), entry);
      uids.add(entry.workloadUid);
    }
    this.#removeUnowned(`WorkloadEntry/${key}`, uids);
  }

  #deriveServiceEntry(key: string): void {
    const entry = this.serviceEntries.get(key);
    const uids = new Set<string>();
    for (const { facts, hosts } of entry?.endpoints ?? []) {
      const services = new Map<string, PortList>();
      for (const host of hosts) {
        const definition = this.#definitions.active(serviceKey(facts.namespace, host));
        // Another object may own the host in this namespace.
        if (definition?.source !== "ServiceEntry" || definition.name !== facts.name) continue;
        services.set(keyOfDefinition(definition), endpointPorts(facts, definition));
      }
      uids.add(this.#setEndpoint(facts, services, this.#policies.namesFor(facts.namespace, facts.labels)));
    }
    this.#removeUnowned(`ServiceEntry/${key}`, uids);
  }

  #deriveSlice(key: string): void {
    const slice = this.endpointSlices.get(key);
    const uids = new Set<string>();
    const definition = slice && this.#definitionOfSlice(slice);
    if (slice !== undefined && definition !== undefined) {
      const services = new Map([[keyOfDefinition(definition), slicePorts(slice.ports, definition)]]);
      for (const endpoint of slice.endpoints) uids.add(this.#setEndpoint(endpoint, services, []));
    }
    this.#removeUnowned(`EndpointSlice/${key}`, uids);
  }

  #definitionOfSlice({ namespace, service }: EndpointSliceFacts): ServiceDefinition | undefined {
    const hostname = `${service}.${namespace}.svc.${this.settings.clusterDomain}`;
    const definition = this.#definitions.active(serviceKey(namespace, hostname));
    return definition?.source === "Service" ? definition : undefined;
  }

  /** An endpoint that is no object of its own: no waypoint can be asked for it alone. */
  #setEndpoint(endpoint: EndpointFacts, services: ReadonlyMap<string, PortList>, policies: readonly string[]): string {
    const { settings, network } = this;
    const { locality } = endpoint;
    const all = this.#withWaypointPolicies(policies, undefined, services);
    const context = { settings, network, locality, services, policies: all, waypoint: undefined };
    this.#setWorkload(endpointWorkload(endpoint, context), endpoint.labels);
    return endpoint.workloadUid;
  }

  #context(
    { namespace, labels }: { readonly namespace: string; readonly labels: Labels },
    locality: LocalityFacts | undefined,
    services: ReadonlyMap<string, PortList>,
  ): WorkloadContext {
    const binding = this.waypoints.binding("workload", namespace, waypointWish(labels, namespace));
    const policies = this.#withWaypointPolicies(this.#policies.namesFor(namespace, labels), binding, services);
    const { settings, network } = this;
    return { settings, network, locality, services, policies, waypoint: addressOf(binding) };
  }

  #bindingOf(definition: ServiceDefinition): Binding | undefined {
    return this.waypoints.serviceBinding(definition.namespace, definition);
  }

  /** A workload behind waypoints takes connections from them alone, when that is wanted. */
  #withWaypointPolicies(
    policies: readonly string[],
    own: Binding | undefined,
    services: ReadonlyMap<string, PortList>,
  ): readonly string[] {
    if (!this.settings.autoAllowWaypoint) return policies;
    const bindings = [own, ...[...services.keys()].map((key) => this.#serviceBinding(key))];
    const implied = bindings
      .flatMap((binding) => [boundTo(binding), binding?.canary?.gateway])
      .filter((gateway) => gateway !== undefined)
      .map(waypointPolicyKey);
    return implied.length === 0 ? policies : [...new Set([...policies, ...implied])].sort();
  }

  #serviceBinding(key: string): Binding | undefined {
    const definition = this.#definitions.active(key);
    return definition && this.#bindingOf(definition);
  }

  #setBoundWorkload(value: Workload, { namespace, labels }: { namespace: string; labels: Labels }): void {
    this.bound.set(
      "workload",
      value.uid,
      boundTo(this.waypoints.binding("workload", namespace, waypointWish(labels, namespace))),
    );
    this.#setWorkload(value, labels);
  }

  #setWorkload(value: Workload, labels: Labels): void {
    const before = this.addresses.get(value.uid);
    this.#setAddress(value.uid, { case: "workload", value });
    if (this.addresses.get(value.uid) === before && this.served.hasLabels(value.uid, labels)) return;
    this.served.set(value.uid, labels, Object.keys(value.services));
  }

  #deleteWorkload(uid: string): void {
    this.addresses.delete(uid);
    this.bound.set("workload", uid, undefined);
    this.served.delete(uid);
  }

  #setAddress(name: string, type: { case: "workload"; value: Workload } | { case: "service"; value: Service }): void {
    this.addresses.set(name, toBinary(AddressSchema, create(AddressSchema, { type })));
  }

  #removeUnowned(source: string, uids: ReadonlySet<string>): void {
    for (const gone of this.#workloadsOf.replace(source, uids)) this.#deleteWorkload(gone);
  }
}

function sameLocality(a: LocalityFacts | undefined, b: LocalityFacts | undefined): boolean {
  return a?.region === b?.region && a?.zone === b?.zone && a?.subzone === b?.subzone;
}

/** The Gateway through which clients are told to go, if they are. */
function boundTo(binding: Binding | undefined): string | undefined {
  return binding?.address === undefined ? undefined : binding.gateway;
}

function addressOf(binding: Binding | undefined): ReturnType<typeof gatewayAddress> | undefined {
  return binding?.address && gatewayAddress(binding.address);
}

function sameMetadata(a: GatewayFacts | undefined, b: GatewayFacts | undefined): boolean {
  return sameLabels(a?.labels, b?.labels) && sameLabels(a?.annotations, b?.annotations);
}

function sameLabels(a: Labels | undefined, b: Labels | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return selects(a, b) && selects(b, a);
}
