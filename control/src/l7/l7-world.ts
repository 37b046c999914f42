/** Everything that waypoints' programs are made of, and who is told when some of it changes. */
import type { MeshModel, ModelChange } from "../model/mesh-model.ts";
import type { Remark } from "../status/remarks.ts";
import { BackendTlsPolicies, type ServiceName } from "./backend-tls/policies.ts";
import type { BackendTlsPolicyFacts } from "./backend-tls/policy.ts";
import { type CredentialSource, NO_CREDENTIALS } from "./credentials/credential-ref.ts";
import { EnvoyFilterIndex } from "./envoy-filter/envoy-filter-index.ts";
import type { BeginsTls } from "./gateway-api/backend-ref.ts";
import { ReferenceGrants } from "./gateway-api/reference-grants.ts";
import { DestinationRuleIndex } from "./istio/destination-rule-index.ts";
import { type MeshConfigFacts, meshConfigFacts } from "./istio/mesh-config.ts";
import { VirtualServiceReader } from "./istio/virtual-service.ts";
import { VirtualServiceIndex } from "./istio/virtual-service-index.ts";
import type { Target } from "./security/policy-target.ts";
import type { PolicySource, RouteSource } from "./sources.ts";
import { TelemetryIndex } from "./telemetry/telemetry-index.ts";

/** What a program must derive again. Hosts may be wildcards. */
export interface WorldListener {
  virtualServicesChanged(hosts: ReadonlySet<string>): void;
  /** How servers of these hosts are talked to. */
  trafficPoliciesChanged(hosts: ReadonlySet<string>): void;
  modelChanged(change: Pick<ModelChange, "definitions" | "served">): void;
  /** Routes of the Gateway API for the service of this key. */
  routesChanged(service: string): void;
  /** Content of a policy or token rule; with a target, which ones are for it. */
  policiesChanged(target: Target | undefined): void;
  telemetryChanged(): void;
  /** EnvoyFilters. */
  limitsChanged(): void;
  /** What is known of a Secret or ConfigMap. */
  credentialChanged(key: string): void;
  /** What may be named in a namespace by objects of others. */
  grantsChanged(namespace: string): void;
  everythingChanged(): void;
}

export interface WorldEvents {
  /** There is something to flush. */
  readonly onDirty?: () => void;
  /** `config` is another now. */
  readonly onConfig?: () => void;
  /** Another BackendTLSPolicy may be in force for these, or one is gone. */
  readonly onBackendTls?: (services: readonly ServiceName[], gone: BackendTlsPolicyFacts | undefined) => void;
  /** All that `source` says of objects now. */
  readonly onRemarks?: (source: string, remarks: readonly Remark[]) => void;
  /** What may be named in a namespace by objects of others is something else now. */
  readonly onGrants?: (namespace: string) => void;
  readonly onEnvoyFilterGone?: (key: string) => void;
  /** Some Telemetry is another now. */
  readonly onTelemetry?: () => void;
  /** A fault of ours: what is made of this object is out of date. */
  readonly onFailure?: (kind: string, key: string, error: unknown) => void;
}

export class L7World {
  readonly model: MeshModel;
  readonly virtualServiceReader: VirtualServiceReader;
  readonly virtualServices: VirtualServiceIndex;
  readonly destinationRules: DestinationRuleIndex;
  readonly telemetry: TelemetryIndex;
  readonly envoyFilters: EnvoyFilterIndex;
  readonly grants: ReferenceGrants;
  readonly backendTls: BackendTlsPolicies;
  /** Absent: there are no routes of the Gateway API. */
  routes: RouteSource | undefined;
  policies: PolicySource | undefined;
  credentials: CredentialSource = NO_CREDENTIALS;
  #config: MeshConfigFacts = meshConfigFacts("", []);
  readonly #listeners = new Set<WorldListener>();
  readonly #events: WorldEvents;

  constructor(model: MeshModel, events: WorldEvents = {}) {
    this.model = model;
    this.#events = events;
    this.virtualServiceReader = new VirtualServiceReader(model.settings.clusterDomain);
    this.virtualServices = new VirtualServiceIndex(
      (hosts) => this.#tell((each) => each.virtualServicesChanged(hosts)),
      (key) => this.virtualServiceReader.forget(key),
    );
    this.envoyFilters = new EnvoyFilterIndex(model.settings.rootNamespace, (gone) => {
      this.#tell((each) => each.limitsChanged());
      if (gone !== undefined) events.onEnvoyFilterGone?.(gone);
    });
    this.telemetry = new TelemetryIndex(model.settings.rootNamespace, () => {
      this.#tell((each) => each.telemetryChanged());
      events.onTelemetry?.();
    });
    this.grants = new ReferenceGrants((namespace) => {
      this.#tell((each) => each.grantsChanged(namespace));
      events.onGrants?.(namespace);
    });
    this.backendTls = new BackendTlsPolicies((services, gone) => {
      const { clusterDomain } = model.settings;
      const hosts = new Set(services.map(({ namespace, name }) => `${name}.${namespace}.svc.${clusterDomain}`));
      if (hosts.size > 0) this.#tell((each) => each.trafficPoliciesChanged(hosts));
      events.onBackendTls?.(services, gone);
    });
    this.destinationRules = new DestinationRuleIndex((hosts) =>
      this.#tell((each) => each.trafficPoliciesChanged(hosts)),
    );
  }

  get config(): MeshConfigFacts {
    return this.#config;
  }

  set config(config: MeshConfigFacts) {
    this.#config = config;
    this.#events.onConfig?.();
    this.#tell((each) => each.everythingChanged());
  }

  /** Whether waypoints talk TLS to a port by the server's own word. */
  readonly beginsTls: BeginsTls = (definition, port) => this.backendTls.forPort(definition, port) !== undefined;

  /** Until the returned function is called. */
  listen(listener: WorldListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The model was flushed; call it before programs are. */
  modelChanged(change: ModelChange): void {
    if (change.definitions.size + change.served.size > 0) for (const each of this.#listeners) each.modelChanged(change);
  }

  routesChanged(service: string): void {
    this.#tell((each) => each.routesChanged(service));
  }

  policiesChanged(target?: Target): void {
    this.#tell((each) => each.policiesChanged(target));
  }

  credentialChanged(key: string): void {
    this.#tell((each) => each.credentialChanged(key));
  }

  remark(source: string, remarks: readonly Remark[]): void {
    this.#events.onRemarks?.(source, remarks);
  }

  failed(kind: string, key: string, error: unknown): void {
    this.#events.onFailure?.(kind, key, error);
  }

  #tell(what: (listener: WorldListener) => void): void {
    for (const listener of this.#listeners) what(listener);
    this.#events.onDirty?.();
  }
}
