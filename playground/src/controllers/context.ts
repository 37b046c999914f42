/** What every controller has at hand. */
import { type Obj, timestamp } from "../api/objects.ts";
import type { Registry } from "../api/registry.ts";
import type { Resource } from "../api/resources.ts";
import type { StoreEvent } from "../api/store.ts";
import { eventName } from "./event-name.ts";

export interface Controller {
  close(): void;
}

export class Context {
  readonly registry: Registry;
  readonly #report: (message: string) => void;

  constructor(registry: Registry, report: (message: string) => void) {
    this.registry = registry;
    this.#report = report;
  }

  report(message: string): void {
    this.#report(message);
  }

  resource(plural: string): Resource {
    return this.registry.catalogue.builtIn(plural);
  }

  /** All objects of a built-in kind. The caller names the type that belongs to the kind. */
  all<T extends Obj>(plural: string): Iterable<T> {
    return this.registry.store.values(collectionName(this.resource(plural))) as Iterable<T>;
  }

  find<T extends Obj>(plural: string, key: string): T | undefined {
    return this.registry.store.get(collectionName(this.resource(plural)), key) as T | undefined;
  }

  /** Calls `listener` for the objects there are and on each later event. */
  follow(plural: string, listener: (object: Obj, event: StoreEvent | undefined) => void): () => void {
    const collection = collectionName(this.resource(plural));
    for (const object of [...this.registry.store.values(collection)]) listener(object, undefined);
    return this.registry.store.subscribe(collection, (event) => listener(event.object, event));
  }

  /** Records an Event about `object`; the same again only counts up. */
  event(object: Obj, type: "Normal" | "Warning", reason: string, message: string, component: string): void {
    const events = this.resource("events");
    const namespace = object.metadata.namespace ?? "default";
    const name = eventName(object.metadata.name, object.metadata.uid, reason, message);
    const now = timestamp();
    const existing = this.registry.find(events, namespace, name);
    try {
      if (existing !== undefined) {
        const count = Number(existing.count ?? 1) + 1;
        this.registry.patch(events, namespace, name, "merge", { count, lastTimestamp: now });
        return;
      }
      this.registry.create(events, namespace, {
        metadata: { name },
        involvedObject: {
          kind: object.kind,
          namespace: object.metadata.namespace,
          name: object.metadata.name,
          uid: object.metadata.uid,
          apiVersion: object.apiVersion,
          resourceVersion: object.metadata.resourceVersion,
        },
        reason,
        message,
        type,
        source: { component },
        firstTimestamp: now,
        lastTimestamp: now,
        count: 1,
        reportingComponent: component,
        reportingInstance: "",
      });
    } catch (error) {
      // A namespace on its way out takes no events.
      this.#report(`no event "${reason}": ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

export function keyOfObject(object: Obj): string {
  const { namespace, name } = object.metadata;
  return namespace === undefined ? name : `${namespace}/${name}`;
}

function collectionName(resource: Resource): string {
  return resource.group === "" ? resource.plural : `${resource.plural}.${resource.group}`;
}
