/** Namespaces: what each begins with, and their end. Events: only so many. */
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
