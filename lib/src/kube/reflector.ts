/** Keeps a handler in step with one kind of object: list, then watch, for ever. */
import { Backoff, pause } from "../backoff.ts";
import type { KubeClient, ListOptions } from "./client.ts";
import { isGone, isNotFound } from "./errors.ts";
import type { KubeObject, ResourceType } from "./types.ts";

/** Called synchronously, in the order of the API. */
export interface ReflectorHandler<T extends KubeObject> {
  /** These are all objects there are; whatever else the handler knew is gone. */
  replace(objects: readonly T[]): void;
  /** Added or changed. */
  upsert(object: T): void;
  /** The last state of a deleted object. */
  remove(object: T): void;
}

export interface ReflectorOptions<T extends KubeObject> {
  readonly type: ResourceType<T>;
  readonly handler: ReflectorHandler<T>;
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** The kind may be unknown to the API (a CRD that is not installed): then there are no objects of it, for now. */
  readonly optional?: boolean;
  /** Told of each failure; the reflector goes on. */
  readonly onError?: (error: unknown) => void;
  /** Milliseconds: first and longest wait between attempts. */
  readonly backoffMs?: readonly [number, number];
}

const BACKOFF_MS = [200, 30_000] as const;
/** The server ends a watch after 5 to 10 minutes, spread so that not all come back at once. */
const WATCH_SECONDS = [300, 600] as const;
/** A watch that lived this long shows that the API is well. */
const ORDERLY_WATCH_MS = 10_000;

export class Reflector<T extends KubeObject> {
  readonly #client: KubeClient;
  readonly #options: ReflectorOptions<T>;
  readonly #synced = Promise.withResolvers<void>();
  #hasSynced = false;

  constructor(client: KubeClient, options: ReflectorOptions<T>) {
    this.#client = client;
    this.#options = options;
  }

  /** Resolves when the handler has had its first `replace`. */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** Returns when the signal aborts, never before. */
  async run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(...(this.#options.backoffMs ?? BACKOFF_MS));
    let version: string | undefined;
    while (!signal.aborted) {
      try {
        version ??= await this.#list(signal);
        const begun = performance.now();
        for await (const seen of this.#watch(version, signal)) version = seen;
        if (signal.aborted) return;
        // An orderly end, unless it came at once: then waits must grow as after a failure.
        if (performance.now() - begun >= ORDERLY_WATCH_MS) backoff.reset();
        await pause(backoff.next(), signal);
      } catch (error) {
        if (signal.aborted) return;
        if (isGone(error)) {
          version = undefined;
        } else if (isNotFound(error) && this.#options.optional === true) {
          version = undefined;
          this.#replace([]);
        } else {
          this.#options.onError?.(error);
        }
        await pause(backoff.next(), signal);
      }
    }
  }

  async #list(signal: AbortSignal): Promise<string> {
    const list = await this.#client.list(this.#options.type, this.#scope(signal));
    if (!signal.aborted) this.#replace(list.items);
    return list.metadata.resourceVersion;
  }

  /** Yields the version after each event. */
  async *#watch(from: string, signal: AbortSignal): AsyncGenerator<string> {
    const [least, most] = WATCH_SECONDS;
    const timeoutSeconds = Math.round(least + Math.random() * (most - least));
    const events = this.#client.watch(this.#options.type, {
      ...this.#scope(signal),
      resourceVersion: from,
      timeoutSeconds,
    });
    for await (const event of events) {
      if (signal.aborted) return;
      switch (event.type) {
        case "ADDED":
        case "MODIFIED":
          this.#options.handler.upsert(event.object);
          break;
        case "DELETED":
          this.#options.handler.remove(event.object);
          break;
        case "BOOKMARK":
          break;
      }
      yield event.object.metadata.resourceVersion ?? from;
    }
  }

  #replace(objects: readonly T[]): void {
    this.#options.handler.replace(objects);
    if (this.#hasSynced) return;
    this.#hasSynced = true;
    this.#synced.resolve();
  }

  #scope(signal: AbortSignal): ListOptions {
    const { namespace, labelSelector, fieldSelector } = this.#options;
    return { namespace, labelSelector, fieldSelector, signal };
  }
}
