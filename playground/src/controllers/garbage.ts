/** Owners: what belonged to a deleted one goes too; one that is deleted in the foreground waits for that. */
import { ApiError } from "../api/errors.ts";
import { clone, type JsonRecord, type Obj } from "../api/objects.ts";
import { FOREGROUND } from "../api/registry.ts";
import { collectionOf, type Resource } from "../api/resources.ts";
import type { StoreEvent } from "../api/store.ts";
import { type Context, type Controller, keyOfObject } from "./context.ts";
import { Reconciler } from "./reconciler.ts";

interface Place {
  readonly collection: string;
  readonly key: string;
}

export function garbageCollector(context: Context): Controller {
  const collector = new GarbageCollector(context);
  return { close: () => collector.close() };
}

class GarbageCollector {
  readonly #context: Context;
  readonly #queue: Reconciler;
  readonly #stop: () => void;
  /** Where each object is, by its uid. */
  readonly #places = new Map<string, Place>();
  /** Uids of what belongs to an owner, by the owner's uid. */
  readonly #dependents = new Map<string, Set<string>>();

  constructor(context: Context) {
    this.#context = context;
    this.#queue = new Reconciler(
      "garbage",
      (uid) => this.#collect(uid),
      (message) => context.report(message),
    );
    this.#stop = context.registry.store.subscribeAll((event) => this.#onEvent(event));
  }

  close(): void {
    this.#stop();
    this.#queue.close();
  }

  #onEvent({ type, collection, object, previous }: StoreEvent): void {
    // Nobody owns events, and there are many.
    if (collection === "events") return;
    const { uid, ownerReferences = [], finalizers } = object.metadata;
    for (const owner of previous?.metadata.ownerReferences ?? []) this.#dependents.get(owner.uid)?.delete(uid);
    if (type === "DELETED") {
      this.#places.delete(uid);
      this.#queue.enqueue(uid);
      // The last dependent frees an owner that waits in the foreground.
      for (const owner of ownerReferences) this.#queue.enqueue(owner.uid);
      return;
    }
    this.#places.set(uid, { collection, key: keyOfObject(object) });
    for (const owner of ownerReferences) {
      const all = this.#dependents.get(owner.uid) ?? new Set();
      this.#dependents.set(owner.uid, all.add(uid));
      // An owner that is gone already, or never was.
      if (!this.#places.has(owner.uid)) this.#queue.enqueue(owner.uid);
    }
    if (finalizers?.includes(FOREGROUND)) this.#queue.enqueue(uid);
  }

  #collect(uid: string): void {
    const owner = this.#find(uid);
    if (owner !== undefined && !owner.metadata.finalizers?.includes(FOREGROUND)) return;
    const dependents = [...(this.#dependents.get(uid) ?? [])]
      .map((each) => this.#find(each))
      .filter((each) => each !== undefined);
    if (dependents.length === 0) {
      this.#dependents.delete(uid);
      if (owner !== undefined) this.#release(owner);
      return;
    }
    for (const object of dependents) this.#lose(object, uid, owner !== undefined);
  }

  #release(owner: Obj): void {
    const resource = this.#resourceOf(owner);
    if (resource === undefined) return;
    const copy = clone(owner) as Obj & JsonRecord;
    copy.metadata.finalizers = (copy.metadata.finalizers ?? []).filter((each) => each !== FOREGROUND);
    this.#context.registry.update(resource, copy.metadata.namespace, copy.metadata.name, copy);
  }

  /** `object` has lost the owner `uid`: it goes, unless it has another one. */
  #lose(object: Obj, uid: string, inForeground: boolean): void {
    const resource = this.#resourceOf(object);
    const { namespace, name, deletionTimestamp, ownerReferences = [] } = object.metadata;
    if (resource === undefined || deletionTimestamp !== undefined) return;
    const { registry } = this.#context;
    const others = ownerReferences.filter((each) => each.uid !== uid);
    if (others.some((each) => this.#places.has(each.uid))) {
      const copy = clone(object);
      copy.metadata.ownerReferences = others;
      registry.store.put(collectionOf(resource), keyOfObject(copy), copy);
      return;
    }
    try {
      registry.delete(resource, namespace, name, { propagationPolicy: inForeground ? "Foreground" : undefined });
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 404) throw error;
    }
  }

  #find(uid: string): Obj | undefined {
    const place = this.#places.get(uid);
    return place === undefined ? undefined : this.#context.registry.store.get(place.collection, place.key);
  }

  #resourceOf(object: Obj): Resource | undefined {
    const { apiVersion, kind } = object;
    const [group, version] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion];
    return this.#context.registry.catalogue.findKind(group ?? "", version ?? "", kind);
  }
}
