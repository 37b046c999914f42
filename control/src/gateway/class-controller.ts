/** Makes the GatewayClasses of waypoints, and accepts every class that names our controller. */
import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import type { KubeClient } from "#lib/kube/client.ts";
import { isConflict, isNotFound } from "#lib/kube/errors.ts";
import { GATEWAY_CLASSES } from "#lib/kube/types.ts";
import { WorkQueue } from "../kube/work-queue.ts";
import type { MeshModel } from "../model/mesh-model.ts";
import type { WantedCondition } from "../status/status-writer.ts";
import { mergedConditions } from "./gateway-status.ts";

export interface ClassControllerOptions {
  readonly client: KubeClient;
  readonly model: MeshModel;
  /** Only the leader writes. */
  readonly leads: () => boolean;
  readonly log: Logger;
}

export class ClassController {
  readonly #options: ClassControllerOptions;
  readonly #queue: WorkQueue;

  constructor(options: ClassControllerOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      work: (name, signal) => this.#reconcile(name, signal),
      concurrency: 1,
      onError: (name, error) => options.log.warn({ class: name, err: error }, "cannot bring a class up to date"),
    });
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#queue.run(signal);
  }

  check(name: string): void {
    if (this.#options.leads()) this.#queue.add(name);
  }

  /** This replica leads now. */
  refresh(): void {
    const { model } = this.#options;
    for (const name of model.settings.waypointClasses.keys()) this.#queue.add(name);
    for (const { name } of model.gatewayClasses.values()) this.#queue.add(name);
  }

  async #reconcile(name: string, signal: AbortSignal): Promise<void> {
    const { client, model, leads } = this.#options;
    const controllerName = model.waypoints.controllerOf(name);
    // Another controller's: not ours to say anything of.
    if (!leads() || controllerName === undefined) return;
    try {
      const found = await client.get(GATEWAY_CLASSES, { name }, { signal });
      const conditions = mergedConditions(
        found.status?.conditions,
        classConditions(model.gatewayClasses.get(`/${name}`)?.hasParameters === true),
        found.metadata.generation ?? 0,
        new Date().toISOString(),
      );
      if (isDeepStrictEqual(conditions, found.status?.conditions)) return;
      const patch = { metadata: { resourceVersion: found.metadata.resourceVersion }, status: { conditions } };
      await client.patch(GATEWAY_CLASSES, { name }, "merge", patch, { signal, subresource: "status" });
    } catch (error) {
      // Somebody else's newer version comes to us by itself.
      if (isConflict(error)) return;
      if (!isNotFound(error)) throw error;
      await this.#make(name, controllerName, signal);
    }
  }

  async #make(name: string, controllerName: string, signal: AbortSignal): Promise<void> {
    const spec = { controllerName, description: "A waypoint of the mesh" };
    try {
      await this.#options.client.create(GATEWAY_CLASSES, { metadata: { name }, spec }, { signal });
    } catch (error) {
      // Made meanwhile; or the Gateway API is not installed, and there is nobody to miss the class.
      if (!isConflict(error) && !isNotFound(error)) throw error;
    }
  }
}

function classConditions(hasParameters: boolean): WantedCondition[] {
  const version: WantedCondition = {
    type: "SupportedVersion",
    status: "True",
    reason: "SupportedVersion",
    message: "the installed version of the Gateway API is served",
  };
  if (hasParameters) {
    const message = "spec.parametersRef: no parameters are defined";
    return [{ type: "Accepted", status: "False", reason: "InvalidParameters", message }, version];
  }
  return [{ type: "Accepted", status: "True", reason: "Accepted", message: "waypoints of this mesh" }, version];
}
