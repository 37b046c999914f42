/** Puts the roots into a ConfigMap of every namespace, where agents and waypoints mount them. */
import type { Logger } from "pino";
import type { KubeClient } from "#lib/kube/client.ts";
import { isNotFound } from "#lib/kube/errors.ts";
import { Reflector } from "#lib/kube/reflector.ts";
import { CONFIG_MAPS, type ConfigMap, NAMESPACES, type Namespace } from "#lib/kube/types.ts";
import { WorkQueue } from "../kube/work-queue.ts";

export const ROOT_CONFIG_MAP = "istio-ca-root-cert";
export const ROOT_KEY = "root-cert.pem";

const CONCURRENCY = 4;

export interface RootDistributorOptions {
  readonly client: KubeClient;
  /** PEM of all roots. */
  readonly roots: () => string;
  readonly log: Logger;
}

export class RootDistributor {
  readonly #options: RootDistributorOptions;
  readonly #namespaces = new Set<string>();
  /** What each namespace's ConfigMap holds. */
  readonly #present = new Map<string, string>();
  readonly #queue: WorkQueue;

  constructor(options: RootDistributorOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      work: (namespace, signal) => this.#write(namespace, signal),
      concurrency: CONCURRENCY,
      onError: (namespace, error) => options.log.warn({ namespace, err: error }, "cannot write the root certificate"),
    });
  }

  /** The roots changed: every namespace is due. */
  refresh(): void {
    for (const namespace of this.#namespaces) this.#queue.add(namespace);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { client, log } = this.#options;
    const configMaps = new Reflector(client, {
      type: CONFIG_MAPS,
      fieldSelector: `metadata.name=${ROOT_CONFIG_MAP}`,
      handler: {
        replace: (objects) => {
          this.#present.clear();
          for (const object of objects) this.#note(object);
          this.refresh();
        },
        upsert: (object) => this.#note(object),
        remove: ({ metadata }) => {
          if (metadata.name !== ROOT_CONFIG_MAP) return;
          this.#present.delete(metadata.namespace ?? "");
          this.#due(metadata.namespace ?? "");
        },
      },
      onError: (error) => log.warn({ err: error }, "cannot watch ConfigMaps"),
    });
    const namespaces = new Reflector(client, {
      type: NAMESPACES,
      handler: {
        replace: (objects) => {
          this.#namespaces.clear();
          for (const object of objects) this.#noteNamespace(object);
        },
        upsert: (object) => this.#noteNamespace(object),
        remove: ({ metadata }) => this.#namespaces.delete(metadata.name),
      },
      onError: (error) => log.warn({ err: error }, "cannot watch Namespaces"),
    });
    const running = [configMaps.run(signal), namespaces.run(signal)];
    await Promise.race([configMaps.synced, ...running]);
    await Promise.all([...running, this.#queue.run(signal)]);
  }

  #note({ metadata, data }: ConfigMap): void {
    if (metadata.name !== ROOT_CONFIG_MAP) return;
    const namespace = metadata.namespace ?? "";
    this.#present.set(namespace, data?.[ROOT_KEY] ?? "");
    this.#due(namespace);
  }

  #noteNamespace({ metadata, status }: Namespace): void {
    // Nothing can be made in a namespace that is going away.
    if (metadata.deletionTimestamp !== undefined || status?.phase === "Terminating") {
      this.#namespaces.delete(metadata.name);
      return;
    }
    this.#namespaces.add(metadata.name);
    this.#due(metadata.name);
  }

  #due(namespace: string): void {
    if (this.#namespaces.has(namespace) && this.#present.get(namespace) !== this.#options.roots()) {
      this.#queue.add(namespace);
    }
  }

  async #write(namespace: string, signal: AbortSignal): Promise<void> {
    const roots = this.#options.roots();
    if (!this.#namespaces.has(namespace) || this.#present.get(namespace) === roots) return;
    const { client } = this.#options;
    const data = { [ROOT_KEY]: roots };
    try {
      await client.patch(CONFIG_MAPS, { namespace, name: ROOT_CONFIG_MAP }, "merge", { data }, { signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
      await this.#create(namespace, data, signal);
    }
    this.#present.set(namespace, roots);
  }

  async #create(namespace: string, data: Record<string, string>, signal: AbortSignal): Promise<void> {
    const metadata = { namespace, name: ROOT_CONFIG_MAP, labels: { "istio.io/config": "true" } };
    try {
      // A conflict means that another replica was first: the queue comes back and patches.
      await this.#options.client.create(CONFIG_MAPS, { metadata, data }, { signal });
    } catch (error) {
      // The namespace went between our look and the write.
      if (!isNotFound(error)) throw error;
    }
  }
}
