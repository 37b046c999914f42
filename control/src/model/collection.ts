import { keyOf } from "./meta.ts";

interface Named {
  readonly namespace: string;
  readonly name: string;
}

/** Told of each change; one of both is always there. */
export type OnChange<T> = (before: T | undefined, after: T | undefined) => void;

/** The objects of one kind, by `namespace/name` and by namespace. */
export class Collection<T extends Named> {
  readonly #onChange: OnChange<T>;
  readonly #all = new Map<string, T>();
  readonly #byNamespace = new Map<string, Map<string, T>>();

  constructor(onChange: OnChange<T> = () => {}) {
    this.#onChange = onChange;
  }

  get size(): number {
    return this.#all.size;
  }

  get(key: string): T | undefined {
    return this.#all.get(key);
  }

  keys(): IterableIterator<string> {
    return this.#all.keys();
  }

  values(): IterableIterator<T> {
    return this.#all.values();
  }

  inNamespace(namespace: string): Iterable<T> {
    return this.#byNamespace.get(namespace)?.values() ?? [];
  }

  /** Keys of the objects that `concerns`, in one namespace or (undefined) in all. */
  *keysOf(namespace: string | undefined, concerns: (object: T) => boolean): Generator<string> {
    const objects = namespace === undefined ? this.#all : (this.#byNamespace.get(namespace) ?? []);
    for (const [key, object] of objects) if (concerns(object)) yield key;
  }

  upsert(object: T): void {
    const key = keyOf(object);
    const before = this.#all.get(key);
    this.#all.set(key, object);
    let siblings = this.#byNamespace.get(object.namespace);
    if (siblings === undefined) {
      siblings = new Map();
      this.#byNamespace.set(object.namespace, siblings);
    }
    siblings.set(key, object);
    this.#onChange(before, object);
  }

  remove(key: string): void {
    const before = this.#all.get(key);
    if (before === undefined) return;
    this.#all.delete(key);
    const siblings = this.#byNamespace.get(before.namespace);
    siblings?.delete(key);
    if (siblings?.size === 0) this.#byNamespace.delete(before.namespace);
    this.#onChange(before, undefined);
  }

  /** These are all there are. */
  replace(objects: Iterable<T>): void {
    const gone = new Set(this.#all.keys());
    for (const object of objects) {
      gone.delete(keyOf(object));
      this.upsert(object);
    }
    for (const key of gone) this.remove(key);
  }
}
