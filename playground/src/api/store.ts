/** All objects in memory, one revision counter for everything, and the latest events for watches to resume from. */
import { clone, type Obj } from "./objects.ts";

export type EventType = "ADDED" | "MODIFIED" | "DELETED";

export interface StoreEvent {
  readonly revision: number;
  readonly type: EventType;
  readonly collection: string;
  readonly object: Obj;
  /** The state before; absent for ADDED. */
  readonly previous?: Obj;
}

/** Enough for some minutes of a busy playground; a client that slept longer lists again (410). */
export const DEFAULT_HISTORY = 20_000;

/** No collection has this name. */
const ALL = "*";

export class Store {
  readonly #collections = new Map<string, Map<string, Obj>>();
  readonly #listeners = new Map<string, Set<(event: StoreEvent) => void>>();
  readonly #historySize: number;
  #history: StoreEvent[] = [];
  /** Events up to and including this revision are forgotten. */
  #forgotten = 0;
  #revision = 1;

  constructor(historySize: number = DEFAULT_HISTORY) {
    this.#historySize = historySize;
  }

  get revision(): number {
    return this.#revision;
  }

  get(collection: string, key: string): Obj | undefined {
    return this.#collections.get(collection)?.get(key);
  }

  /** In the order of keys. `namespace` undefined: all. */
  list(collection: string, namespace?: string): Obj[] {
    const all = this.#collections.get(collection);
    if (all === undefined) return [];
    const entries = [...all].filter(([key]) => namespace === undefined || key.startsWith(`${namespace}/`));
    return entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
  }

  /** In no particular order, without copying. */
  values(collection: string): Iterable<Obj> {
    return this.#collections.get(collection)?.values() ?? [];
  }

  collections(): Iterable<string> {
    return this.#collections.keys();
  }

  /** Stores `object` under the next revision and freezes it. */
  put(collection: string, key: string, object: Obj): Obj {
    let all = this.#collections.get(collection);
    if (all === undefined) {
      all = new Map();
      this.#collections.set(collection, all);
    }
    const previous = all.get(key);
    this.#revision += 1;
    object.metadata.resourceVersion = String(this.#revision);
    all.set(key, object);
    this.#publish(
      previous === undefined
        ? { revision: this.#revision, type: "ADDED", collection, object }
        : { revision: this.#revision, type: "MODIFIED", collection, object, previous },
    );
    return object;
  }

  remove(collection: string, key: string): Obj | undefined {
    const previous = this.#collections.get(collection)?.get(key);
    if (previous === undefined) return undefined;
    this.#collections.get(collection)?.delete(key);
    this.#revision += 1;
    const object = clone(previous);
    object.metadata.resourceVersion = String(this.#revision);
    this.#publish({ revision: this.#revision, type: "DELETED", collection, object, previous });
    return object;
  }

  /** Events of a collection after `revision`; undefined when some of them are forgotten already. */
  eventsSince(collection: string, revision: number): StoreEvent[] | undefined {
    if (revision < this.#forgotten || revision > this.#revision) return undefined;
    return this.#history.filter((event) => event.revision > revision && event.collection === collection);
  }

  /** Calls `listener` on each later event of `collection`; returns how to stop. */
  subscribe(collection: string, listener: (event: StoreEvent) => void): () => void {
    let all = this.#listeners.get(collection);
    if (all === undefined) {
      all = new Set();
      this.#listeners.set(collection, all);
    }
    all.add(listener);
    return () => this.#listeners.get(collection)?.delete(listener);
  }

  /** Like `subscribe`, for all collections. */
  subscribeAll(listener: (event: StoreEvent) => void): () => void {
    return this.subscribe(ALL, listener);
  }

  #publish(event: StoreEvent): void {
    this.#history.push(event);
    // Cut in large steps: removing one at the front of a long array each time would cost its length.
    if (this.#history.length >= this.#historySize * 2) {
      const cut = this.#history.length - this.#historySize;
      this.#forgotten = this.#history[cut - 1]?.revision ?? this.#forgotten;
      this.#history = this.#history.slice(cut);
    }
    for (const listener of [...(this.#listeners.get(event.collection) ?? [])]) listener(event);
    for (const listener of [...(this.#listeners.get(ALL) ?? [])]) listener(event);
  }
}
