/** Tells Services and ServiceEntries which waypoint they are bound to, in the condition `istio.io/WaypointBound`. */
import type { Logger } from "pino";
import type { KubeClient } from "#lib/kube/client.ts";
import { isConflict, isNotFound } from "#lib/kube/errors.ts";
import { type Condition, type KubeObject, type ResourceType, SERVICE_ENTRIES, SERVICES } from "#lib/kube/types.ts";
import { WorkQueue } from "../kube/work-queue.ts";
import type { ServiceDefinition } from "../model/service-definition.ts";
import type { Binding } from "../model/waypoints.ts";

export const WAYPOINT_BOUND = "istio.io/WaypointBound";

type Conditioned = KubeObject & { readonly status?: { readonly conditions?: readonly Condition[] } };

const CONCURRENCY = 4;

export interface WaypointBoundWriterOptions {
  readonly client: KubeClient;
  /** Only the leader writes. */
  readonly leads: () => boolean;
  readonly log: Logger;
}

export class WaypointBoundWriter {
  readonly #options: WaypointBoundWriterOptions;
  readonly #queue: WorkQueue;
  /** By `kind/namespace/name`. Objects that never had a binding are not kept. */
  readonly #bindings = new Map<string, Binding | undefined>();

  constructor(options: WaypointBoundWriterOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      work: (key, signal) => this.#write(key, signal),
      concurrency: CONCURRENCY,
      onError: (object, error) => options.log.warn({ object, err: error }, "cannot write a waypoint's binding"),
    });
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#queue.run(signal);
  }

  /** Replaces what was found before of the same object. */
  found({ source, namespace, name }: ServiceDefinition, binding: Binding | undefined): void {
    const key = `${source}/${namespace}/${name}`;
    const before = this.#bindings.get(key);
    if (binding === undefined && before === undefined) return;
    this.#bindings.set(key, binding);
    if (before?.reason === binding?.reason && before?.message === binding?.message) return;
    if (this.#options.leads()) this.#queue.add(key);
  }

  /** This replica leads now. */
  refresh(): void {
    for (const key of this.#bindings.keys()) this.#queue.add(key);
  }

  async #write(key: string, signal: AbortSignal): Promise<void> {
    const { client, leads } = this.#options;
    if (!leads()) return;
    const [source, namespace = "", name = ""] = key.split("/");
    const type: ResourceType<Conditioned> = source === "Service" ? SERVICES : SERVICE_ENTRIES;
    const binding = this.#bindings.get(key);
    try {
      const { metadata, status } = await client.get(type, { namespace, name }, { signal });
      const conditions = withBinding(status?.conditions ?? [], binding, metadata.generation);
      if (conditions !== undefined) {
        const patch = { metadata: { resourceVersion: metadata.resourceVersion }, status: { conditions } };
        await client.patch(type, { namespace, name }, "merge", patch, { signal, subresource: "status" });
      }
    } catch (error) {
      if (!isNotFound(error)) {
        if (!isConflict(error)) throw error;
        this.#queue.add(key);
        return;
      }
    }
    if (binding === undefined && this.#bindings.get(key) === undefined) this.#bindings.delete(key);
  }
}

/** Undefined when the object says so already. The conditions of others stay. */
function withBinding(
  before: readonly Condition[],
  binding: Binding | undefined,
  generation: number | undefined,
): Condition[] | undefined {
  const others = before.filter(({ type }) => type !== WAYPOINT_BOUND);
  const present = before.find(({ type }) => type === WAYPOINT_BOUND);
  if (binding === undefined) return present === undefined ? undefined : others;
  const { reason, message } = binding;
  const status = reason === "WaypointAccepted" ? "True" : "False";
  if (present?.status === status && present.reason === reason && present.message === message) return undefined;
  const since = present?.status === status ? present.lastTransitionTime : undefined;
  return [
    ...others,
    {
      type: WAYPOINT_BOUND,
      status,
      reason,
      message,
      lastTransitionTime: since ?? new Date().toISOString(),
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    },
  ];
}
