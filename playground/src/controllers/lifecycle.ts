/** Namespaces: what each begins with, and their end. Owners: what goes when they go. Events: only so many. */
import { ApiError } from "../api/errors.ts";
import { clone, type Obj } from "../api/objects.ts";
import { FOREGROUND } from "../api/registry.ts";
import { collectionOf, isVirtual } from "../api/resources.ts";
import { type Context, type Controller, keyOfObject } from "./context.ts";
import { Reconciler } from "./reconciler.ts";

/** Kubernetes keeps events for an hour; we keep the latest. */
const MAX_EVENTS = 2000;
/** How often a leaving namespace is looked at while something in it takes its time. */
const NAMESPACE_RECHECK_MS = 100;

/** Each namespace gets its default account and the certificate of the API server's authority. */
export function namespaceController(context: Context, rootCertificate: string): Controller {
  const queue = new Reconciler(
    "namespace",
    (name) => reconcile(name),
    (text) => context.report(text),
  );
  const stop = context.follow("namespaces", (namespace) => queue.enqueue(namespace.metadata.name));

  function reconcile(name: string): void {
    const namespace = context.find("namespaces", name);
    if (namespace === undefined) return;
    if (namespace.metadata.deletionTimestamp !== undefined) {
      empty(name);
      return;
    }
    populate(context, name, rootCertificate);
  }

  function empty(name: string): void {
    const { registry } = context;
    let left = 0;
    for (const resource of registry.catalogue.all()) {
      if (!resource.namespaced || isVirtual(resource)) continue;
      for (const object of registry.store.list(collectionOf(resource), name)) {
        left += 1;
        if (object.metadata.deletionTimestamp === undefined) registry.delete(resource, name, object.metadata.name);
      }
    }
    if (left === 0) registry.finalize(context.resource("namespaces"), undefined, name);
    else queue.enqueueAfter(name, NAMESPACE_RECHECK_MS);
  }

  return {
    close() {
      stop();
      queue.close();
    },
  };
}

/** Also called at once when a namespace is made, so that a pod of the same `kubectl apply` finds its account. */
export function populate(context: Pick<Context, "registry" | "resource">, name: string, rootCertificate: string): void {
  ensure(context, "serviceaccounts", name, { metadata: { name: "default" } });
  ensure(context, "configmaps", name, {
    metadata: { name: "kube-root-ca.crt" },
    data: { "ca.crt": rootCertificate },
  });
}

function ensure(
  context: Pick<Context, "registry" | "resource">,
  plural: string,
  namespace: string,
  object: { metadata: { name: string } } & Record<string, unknown>,
): void {
  const resource = context.resource(plural);
  if (context.registry.find(resource, namespace, object.metadata.name) !== undefined) return;
  context.registry.create(resource, namespace, object);
}

/** Deletes what belonged to a deleted owner. */
export function garbageCollector(context: Context): Controller {
  const { registry } = context;
  const queue = new Reconciler("garbage", collect, (text) => context.report(text));
  const stop = registry.store.subscribeAll((event) => {
    if (event.type === "DELETED") queue.enqueue(event.object.metadata.uid);
    else if (event.object.metadata.finalizers?.includes(FOREGROUND)) queue.enqueue(event.object.metadata.uid);
    // The last dependent frees an owner that waits in the foreground.
    if (event.type === "DELETED") {
      for (const owner of event.object.metadata.ownerReferences ?? []) queue.enqueue(owner.uid);
    }
  });

  function collect(uid: string): void {
    const dependents = dependentsOf(uid);
    const owner = findByUid(uid);
    if (owner !== undefined && !owner.object.metadata.finalizers?.includes(FOREGROUND)) return;
    if (owner !== undefined && dependents.length === 0) {
      const finalizers = owner.object.metadata.finalizers?.filter((each) => each !== FOREGROUND) ?? [];
      const copy = clone(owner.object);
      copy.metadata.finalizers = finalizers;
      const resource = resourceOf(owner.collection, copy);
      const { namespace, name } = copy.metadata;
      if (resource !== undefined) registry.update(resource, namespace, name, copy as Obj & Record<string, unknown>);
      return;
    }
    for (const { collection, object } of dependents) {
      const resource = resourceOf(collection, object);
      if (resource === undefined || object.metadata.deletionTimestamp !== undefined) continue;
      const others = (object.metadata.ownerReferences ?? []).filter((each) => each.uid !== uid);
      const hasLiving = others.some((each) => findByUid(each.uid) !== undefined);
      const { namespace, name } = object.metadata;
      if (hasLiving) {
        const copy = clone(object);
        copy.metadata.ownerReferences = others;
        registry.store.put(collection, keyOfObject(copy), copy);
      } else {
        const propagationPolicy = owner === undefined ? undefined : "Foreground";
        ignoreNotFound(() => registry.delete(resource, namespace, name, { propagationPolicy }));
      }
    }
  }

  function dependentsOf(uid: string): { collection: string; object: Obj }[] {
    return everything().filter(({ object }) => object.metadata.ownerReferences?.some((each) => each.uid === uid));
  }

  function findByUid(uid: string): { collection: string; object: Obj } | undefined {
    return everything().find(({ object }) => object.metadata.uid === uid);
  }

  function everything(): { collection: string; object: Obj }[] {
    return [...registry.store.collections()].flatMap((collection) =>
      collection === "events" ? [] : [...registry.store.values(collection)].map((object) => ({ collection, object })),
    );
  }

  function resourceOf(collection: string, object: Obj) {
    return registry.catalogue
      .all()
      .find((each) => collectionOf(each) === collection && object.apiVersion.endsWith(each.version));
  }

  return {
    close() {
      stop();
      queue.close();
    },
  };
}

function ignoreNotFound(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 404) throw error;
  }
}

/** Forgets the oldest Events. */
export function eventLimiter(context: Context): Controller {
  const order: string[] = [];
  const stop = context.registry.store.subscribe("events", (event) => {
    if (event.type === "ADDED") order.push(keyOfObject(event.object));
    if (order.length <= MAX_EVENTS) return;
    const oldest = order.splice(0, Math.ceil(MAX_EVENTS / 10));
    setImmediate(() => {
      for (const key of oldest) context.registry.store.remove("events", key);
    });
  });
  return { close: stop };
}
