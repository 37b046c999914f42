/** Writes what we say of routes into their `status.parents`, beside what others say there. */
import type { Logger } from "pino";
import type { KubeClient } from "#lib/kube/client.ts";
import { isNotFound } from "#lib/kube/errors.ts";
import type { ResourceType, RouteObject } from "#lib/kube/types.ts";
import { WorkQueue } from "../kube/work-queue.ts";
import { mergedParents } from "../l7/gateway-api/parent-status.ts";
import { type RouteFacts, versionOf } from "../l7/gateway-api/route-facts.ts";
import type { ParentVerdict } from "../l7/gateway-api/route-verdict.ts";
import type { Collection } from "../model/collection.ts";

const CONCURRENCY = 4;

export interface RouteStatusWriterOptions {
  readonly client: KubeClient;
  readonly type: ResourceType<RouteObject>;
  readonly routes: Collection<RouteFacts>;
  readonly verdictsOf: (key: string) => readonly ParentVerdict[] | undefined;
  /** Only the leader writes. */
  readonly leads: () => boolean;
  readonly log: Logger;
}

export class RouteStatusWriter {
  readonly #options: RouteStatusWriterOptions;
  readonly #queue: WorkQueue;

  constructor(options: RouteStatusWriterOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      work: (key, signal) => this.#write(key, signal),
      concurrency: CONCURRENCY,
      // A conflict is somebody else's write in between: the next attempt reads it.
      onError: (route, error) =>
        options.log.info({ kind: options.type.kind, route, err: error }, "writing a status again"),
    });
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#queue.run(signal);
  }

  /** What is said of this route may be out of date. */
  check(key: string): void {
    if (this.#options.leads()) this.#queue.add(key);
  }

  /** This replica leads now. */
  refresh(): void {
    for (const key of this.#options.routes.keys()) this.#queue.add(key);
  }

  async #write(key: string, signal: AbortSignal): Promise<void> {
    const { client, type, routes, leads } = this.#options;
    const facts = routes.get(key);
    if (facts === undefined || !leads()) return;
    const now = new Date().toISOString();
    if (this.#merged(key, facts, now) === undefined) return;
    try {
      const object = await client.get(type, facts, { signal });
      const version = versionOf(object);
      // Another version of the route comes to us by itself, and is judged then.
      if (version.uid !== facts.uid || version.generation !== facts.generation) return;
      const parents = this.#merged(key, version, now);
      if (parents === undefined) return;
      const { resourceVersion } = object.metadata;
      const patch = { metadata: { resourceVersion }, status: { parents } };
      await client.patch(type, facts, "merge", patch, { signal, subresource: "status" });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  #merged(key: string, { reported, generation }: Pick<RouteFacts, "reported" | "generation">, now: string) {
    const verdicts = this.#options.verdictsOf(key);
    return verdicts && mergedParents(reported, verdicts, generation, now);
  }
}
