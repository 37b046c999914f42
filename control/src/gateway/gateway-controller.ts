/** Makes a Deployment, a Service and an account for each waypoint, and tells its Gateway what came of it. */
import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import type { KubeClient } from "#lib/kube/client.ts";
import { isConflict, isNotFound } from "#lib/kube/errors.ts";
import { Reflector } from "#lib/kube/reflector.ts";
import {
  DEPLOYMENTS,
  type Deployment,
  GATEWAYS,
  type KubeObject,
  type ResourceType,
  SERVICE_ACCOUNTS,
  SERVICES,
  type Service,
} from "#lib/kube/types.ts";
import { WorkQueue } from "../kube/work-queue.ts";
import {
  GATEWAY_NAME_LABEL,
  type GatewayFacts,
  gatewayProblem,
  MANAGED_LABEL,
  resourceName,
  shortened,
} from "../model/gateway.ts";
import type { MeshModel } from "../model/mesh-model.ts";
import { keyOf } from "../model/meta.ts";
import type { GatewayReferences } from "./gateway-references.ts";
import { type Deployed, gatewayStatus } from "./gateway-status.ts";
import { isMadeFor, type ManifestSettings, managedBy, waypointObjects } from "./manifests.ts";
import type { ProgramState } from "./program-answers.ts";

const FIELD_MANAGER = "weft-gateway";
const CONCURRENCY = 4;
/** A status that somebody else changes meanwhile is merged anew this often. */
const STATUS_ATTEMPTS = 3;

export interface GatewayControllerOptions {
  readonly client: KubeClient;
  readonly model: MeshModel;
  readonly settings: ManifestSettings;
  /** Only the leader writes. */
  readonly leads: () => boolean;
  readonly log: Logger;
  /** How many routes are accepted for a listener of a Gateway. */
  readonly attachedRoutes: (gateway: string, listener: string) => number;
  /** What a Gateway's pods say of their program. */
  readonly program: (gateway: string) => ProgramState;
  readonly references: Pick<GatewayReferences, "of" | "forget">;
}

export class GatewayController {
  readonly #options: GatewayControllerOptions;
  readonly #queue: WorkQueue;
  readonly #statuses: WorkQueue;
  /** What came of the last time that a Gateway's objects were applied. */
  readonly #last = new Map<string, Pick<Deployed, "addresses" | "readyPods" | "failure">>();
  /** Names of the Deployments that were made, by `namespace/<value of the gateway-name label>`. */
  readonly #made = new Map<string, Set<string>>();

  constructor(options: GatewayControllerOptions) {
    this.#options = options;
    const onError = (gateway: string, error: unknown) =>
      options.log.warn({ gateway, err: error }, "cannot bring a waypoint up to date");
    this.#queue = new WorkQueue({
      work: (key, signal) => this.#reconcile(key, signal),
      concurrency: CONCURRENCY,
      onError,
    });
    this.#statuses = new WorkQueue({
      work: (key, signal) => this.#tellAgain(key, signal),
      concurrency: CONCURRENCY,
      onError,
    });
  }

  /** A Gateway changed, or what is made for it. */
  check(key: string): void {
    if (this.#options.leads()) this.#queue.add(key);
  }

  /** What is to be said of a Gateway changed, and nothing that is made for it. */
  checkStatus(key: string): void {
    if (this.#options.leads() && this.#last.has(key)) this.#statuses.add(key);
  }

  /** This replica leads now. */
  refresh(): void {
    for (const key of this.#options.model.gateways.keys()) this.#queue.add(key);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { client, log } = this.#options;
    const deployments = new Reflector(client, {
      type: DEPLOYMENTS,
      labelSelector: MANAGED_LABEL,
      handler: {
        replace: (objects) => {
          this.#made.clear();
          for (const object of objects) this.#note(object);
        },
        upsert: (object) => this.#note(object),
        remove: (object) => {
          const key = ownerKey(object);
          this.#made.get(key)?.delete(object.metadata.name);
          this.#checkOwner(object);
        },
      },
      onError: (error) => log.warn({ err: error }, "cannot watch the waypoints' Deployments"),
    });
    await Promise.all([deployments.run(signal), this.#queue.run(signal), this.#statuses.run(signal)]);
  }

  #note(object: Deployment): void {
    const key = ownerKey(object);
    const names = this.#made.get(key) ?? new Set();
    this.#made.set(key, names.add(object.metadata.name));
    this.#checkOwner(object);
  }

  #checkOwner({ metadata }: KubeObject): void {
    const owner = metadata.ownerReferences?.find(({ kind }) => kind === "Gateway");
    if (owner !== undefined) this.check(`${metadata.namespace}/${owner.name}`);
  }

  async #reconcile(key: string, signal: AbortSignal): Promise<void> {
    const { model, leads } = this.#options;
    if (!leads()) return;
    const gateway = model.waypoints.find(key);
    const served = gateway !== undefined && gatewayProblem(gateway) === undefined ? gateway : undefined;
    // With the Gateway itself goes what it owns; this is for one that became something else, or changed its name.
    const [namespace = "", name = ""] = key.split("/");
    for (const made of this.#made.get(`${namespace}/${shortened(name)}`) ?? []) {
      if (served === undefined || made !== resourceName(served)) await this.#remove(namespace, made, name, signal);
    }
    if (gateway === undefined) {
      this.#last.delete(key);
      this.#options.references.forget(key);
      return;
    }
    const deployed = served === undefined ? this.#nothing(gateway) : await this.#deploy(served, signal);
    const { addresses, readyPods, failure } = deployed;
    this.#last.set(key, { addresses, readyPods, ...(failure === undefined ? {} : { failure }) });
    await this.#tell(gateway, deployed, signal);
    if (deployed.failure !== undefined) throw new Error(deployed.failure);
  }

  async #tellAgain(key: string, signal: AbortSignal): Promise<void> {
    const gateway = this.#options.model.waypoints.find(key);
    const last = this.#last.get(key);
    if (gateway !== undefined && last !== undefined && this.#options.leads())
      await this.#tell(gateway, { ...this.#nothing(gateway), ...last }, signal);
  }

  #nothing(gateway: GatewayFacts): Deployed {
    const key = keyOf(gateway);
    const { program, references } = this.#options;
    const attachedRoutes = (listener: string) => this.#options.attachedRoutes(key, listener);
    return {
      addresses: [],
      readyPods: 0,
      attachedRoutes,
      program: program(key),
      references: references.of(gateway),
    };
  }

  async #deploy(gateway: GatewayFacts, signal: AbortSignal): Promise<Deployed> {
    const { client, model, settings } = this.#options;
    const controller = model.waypoints.controllerOf(gateway.className) ?? "";
    const objects = waypointObjects(gateway, controller, settings);
    const nothing = this.#nothing(gateway);
    try {
      if (objects.serviceAccount !== undefined) {
        await client.apply(SERVICE_ACCOUNTS, objects.serviceAccount, FIELD_MANAGER, { signal });
      }
      const service = await client.apply(SERVICES, objects.service, FIELD_MANAGER, { signal });
      const deployment = await client.apply(DEPLOYMENTS, objects.deployment, FIELD_MANAGER, { signal });
      const readyPods = deployment.status?.readyReplicas ?? 0;
      return { ...nothing, addresses: addressesOf(service, model.settings.clusterDomain), readyPods };
    } catch (error) {
      if (signal.aborted) throw error;
      const failure = error instanceof Error ? error.message : String(error);
      return { ...nothing, failure };
    }
  }

  async #tell(gateway: GatewayFacts, deployed: Deployed, signal: AbortSignal): Promise<void> {
    const { client } = this.#options;
    for (let attempt = 1; ; attempt++) {
      try {
        const object = await client.get(GATEWAYS, gateway, { signal });
        // Another one of that name, or a newer version: it comes to us by itself.
        if (object.metadata.uid !== gateway.uid || object.metadata.generation !== gateway.generation) return;
        const status = gatewayStatus(gateway, deployed, object.status, new Date().toISOString());
        if (isDeepStrictEqual(status, object.status)) return;
        const patch = { metadata: { resourceVersion: object.metadata.resourceVersion }, status };
        await client.patch(GATEWAYS, gateway, "merge", patch, { signal, subresource: "status" });
        return;
      } catch (error) {
        if (isNotFound(error)) return;
        if (!isConflict(error) || attempt >= STATUS_ATTEMPTS) throw error;
      }
    }
  }

  /** Only what bears our label: a Service of that name may be somebody else's. */
  async #remove(namespace: string, name: string, gatewayName: string, signal: AbortSignal): Promise<void> {
    const { client, model } = this.#options;
    const managed = new Set([...model.settings.waypointClasses.values()].map(managedBy));
    const types: readonly ResourceType<KubeObject>[] = [DEPLOYMENTS, SERVICES, SERVICE_ACCOUNTS];
    for (const type of types) {
      try {
        const object = await client.get(type, { namespace, name }, { signal });
        if (![...managed].some((value) => isMadeFor(object, gatewayName, value))) continue;
        await client.delete(type, { namespace, name }, { signal });
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
  }
}

function ownerKey({ metadata }: KubeObject): string {
  return `${metadata.namespace}/${metadata.labels?.[GATEWAY_NAME_LABEL] ?? ""}`;
}

function addressesOf({ metadata, spec }: Service, clusterDomain: string): Deployed["addresses"] {
  const hostname = `${metadata.name}.${metadata.namespace}.svc.${clusterDomain}`;
  const ips = (spec?.clusterIPs ?? [spec?.clusterIP ?? ""]).filter((ip) => ip !== "" && ip !== "None");
  return [{ type: "Hostname", value: hostname }, ...ips.map((value) => ({ type: "IPAddress", value }) as const)];
}
