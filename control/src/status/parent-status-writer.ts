/**
 * Writes what we say of objects parent by parent (routes, `status.parents`) or ancestor by ancestor (policies,
 * `status.ancestors`), beside what others say there.
 */
import type { Logger } from "pino";
import type { KubeClient } from "#lib/kube/client.ts";
import { isNotFound } from "#lib/kube/errors.ts";
import type { KubeObject, ResourceType, RouteParentStatus } from "#lib/kube/types.ts";
import { WorkQueue } from "../kube/work-queue.ts";
import { mergedParents, type ParentVerdict } from "../l7/gateway-api/parent-status.ts";
import type { RouteVersion } from "../l7/gateway-api/route-facts.ts";
import type { Collection } from "../model/collection.ts";
import type { Meta } from "../model/meta.ts";
import type { WantedCondition } from "./status-writer.ts";

const CONCURRENCY = 4;

export interface ParentStatusWriterOptions<T extends KubeObject> {
  readonly client: KubeClient;
  readonly type: ResourceType<T>;
  readonly objects: Pick<Collection<Meta & RouteVersion>, "get" | "keys">;
  /** The API takes no more entries. */
  readonly most: number;
  readonly versionOf: (object: T) => RouteVersion;
  /** The status to write. */
  readonly statusOf: (entries: readonly RouteParentStatus[]) => object;
  /** Undefined: there is nothing to say yet. */
  readonly verdictsOf: (key: string) => readonly ParentVerdict[] | undefined;
  /** Beside the verdicts, at every parent. */
  readonly remarksOf: (key: string) => readonly WantedCondition[];
  /** Only the leader writes. */
  readonly leads: () => boolean;
  readonly log: Logger;
}

export class ParentStatusWriter<T extends KubeObject> {
  readonly #options: ParentStatusWriterOptions<T>;
  readonly #queue: WorkQueue;

  constructor(options: ParentStatusWriterOptions<T>) {
    this.#options = options;
    this.#queue = new WorkQueue({
      work: (key, signal) => this.#write(key, signal),
      concurrency: CONCURRENCY,
      // A conflict is somebody else's write in between: the next attempt reads it.
      onError: (object, error) =>
        options.log.info({ kind: options.type.kind, object, err: error }, "writing a status again"),
    });
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#queue.run(signal);
  }

  /** What is said of this object may be out of date. */
  check(key: string): void {
    if (this.#options.leads()) this.#queue.add(key);
  }

  /** This replica leads now. */
  refresh(): void {
    for (const key of this.#options.objects.keys()) this.#queue.add(key);
  }

  async #write(key: string, signal: AbortSignal): Promise<void> {
    const { client, type, objects, leads, versionOf, statusOf } = this.#options;
    const facts = objects.get(key);
    if (facts === undefined || !leads()) return;
    const now = new Date().toISOString();
    if (this.#merged(key, facts, now) === undefined) return;
    try {
      const object = await client.get(type, facts, { signal });
      const version = versionOf(object);
      // Another version of it comes to us by itself, and is judged then.
      if (version.uid !== facts.uid || version.generation !== facts.generation) return;
      const entries = this.#merged(key, version, now);
      if (entries === undefined) return;
      const { resourceVersion } = object.metadata;
      const patch = { metadata: { resourceVersion }, status: statusOf(entries) };
      await client.patch(type, facts, "merge", patch, { signal, subresource: "status" });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  #merged(key: string, { reported, generation }: Pick<RouteVersion, "reported" | "generation">, now: string) {
    const { verdictsOf, remarksOf, most } = this.#options;
    const remarks = remarksOf(key);
    const verdicts = verdictsOf(key)?.map(({ parent, conditions }) => ({
      parent,
      conditions: [...conditions, ...remarks],
    }));
    return verdicts && mergedParents(reported, verdicts, generation, now, most);
  }
}
