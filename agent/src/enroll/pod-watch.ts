/** The pods of this node and all namespaces, kept in step with the Kubernetes API. */
import type { KubeClient } from "#lib/kube/client.ts";
import { Reflector } from "#lib/kube/reflector.ts";
import { NAMESPACES, type Namespace, PODS, type Pod } from "#lib/kube/types.ts";
import { errorText, type Logger } from "#lib/log.ts";

/** What the enroller needs to know of Kubernetes. */
export interface PodSource {
  pods(): IterableIterator<Pod>;
  pod(uid: string): Pod | undefined;
  namespaceLabels(namespace: string): Readonly<Record<string, string>> | undefined;
}

export interface PodWatchOptions {
  readonly client: KubeClient;
  readonly nodeName: string;
  /** A pod is new, changed or gone. */
  readonly onPod: (uid: string) => void;
  /** A namespace's labels changed. */
  readonly onNamespace: (name: string) => void;
  readonly log: Logger;
}

export class PodWatch implements PodSource {
  readonly #options: PodWatchOptions;
  readonly #pods = new Map<string, Pod>();
  readonly #labels = new Map<string, Readonly<Record<string, string>>>();
  readonly #podReflector: Reflector<Pod>;
  readonly #namespaceReflector: Reflector<Namespace>;

  constructor(options: PodWatchOptions) {
    this.#options = options;
    const onError = (error: unknown) => options.log.warn("kubernetes watch failed", { error: errorText(error) });
    this.#podReflector = new Reflector(options.client, {
      type: PODS,
      fieldSelector: `spec.nodeName=${options.nodeName}`,
      onError,
      handler: {
        replace: (pods) => this.#replacePods(pods),
        upsert: (pod) => this.#setPod(pod),
        remove: (pod) => this.#removePod(pod.metadata.uid ?? ""),
      },
    });
    this.#namespaceReflector = new Reflector(options.client, {
      type: NAMESPACES,
      onError,
      handler: {
        replace: (namespaces) => this.#replaceNamespaces(namespaces),
        upsert: (namespace) => this.#setNamespace(namespace),
        remove: (namespace) => this.#removeNamespace(namespace.metadata.name),
      },
    });
  }

  /** Resolves when both kinds have been listed once. */
  get synced(): Promise<unknown> {
    return Promise.all([this.#podReflector.synced, this.#namespaceReflector.synced]);
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#podReflector.run(signal), this.#namespaceReflector.run(signal)]);
  }

  pods(): IterableIterator<Pod> {
    return this.#pods.values();
  }

  pod(uid: string): Pod | undefined {
    return this.#pods.get(uid);
  }

  namespaceLabels(namespace: string): Readonly<Record<string, string>> | undefined {
    return this.#labels.get(namespace);
  }

  #replacePods(pods: readonly Pod[]): void {
    const present = new Set(pods.map((pod) => pod.metadata.uid));
    for (const uid of this.#pods.keys()) if (!present.has(uid)) this.#removePod(uid);
    for (const pod of pods) this.#setPod(pod);
  }

  #setPod(pod: Pod): void {
    const uid = pod.metadata.uid;
    // The field selector already says so; a server that ignores it must not make us touch other nodes' pods.
    if (uid === undefined || pod.spec?.nodeName !== this.#options.nodeName) return;
    this.#pods.set(uid, slim(pod));
    this.#options.onPod(uid);
  }

  #removePod(uid: string): void {
    if (this.#pods.delete(uid)) this.#options.onPod(uid);
  }

  #replaceNamespaces(namespaces: readonly Namespace[]): void {
    const present = new Set(namespaces.map((namespace) => namespace.metadata.name));
    for (const name of this.#labels.keys()) if (!present.has(name)) this.#removeNamespace(name);
    for (const namespace of namespaces) this.#setNamespace(namespace);
  }

  #setNamespace(namespace: Namespace): void {
    this.#labels.set(namespace.metadata.name, namespace.metadata.labels ?? {});
    this.#options.onNamespace(namespace.metadata.name);
  }

  #removeNamespace(name: string): void {
    if (this.#labels.delete(name)) this.#options.onNamespace(name);
  }
}

/** Keeps what enrolment reads: a whole pod object is many kilobytes. */
function slim({ metadata, spec, status }: Pod): Pod {
  return {
    metadata: {
      name: metadata.name,
      ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
      ...(metadata.uid === undefined ? {} : { uid: metadata.uid }),
      ...(metadata.labels === undefined ? {} : { labels: metadata.labels }),
      ...(metadata.annotations === undefined ? {} : { annotations: metadata.annotations }),
    },
    spec: {
      ...(spec?.nodeName === undefined ? {} : { nodeName: spec.nodeName }),
      ...(spec?.serviceAccountName === undefined ? {} : { serviceAccountName: spec.serviceAccountName }),
      ...(spec?.hostNetwork === undefined ? {} : { hostNetwork: spec.hostNetwork }),
    },
    status: {
      ...(status?.phase === undefined ? {} : { phase: status.phase }),
      ...(status?.podIP === undefined ? {} : { podIP: status.podIP }),
      ...(status?.podIPs === undefined ? {} : { podIPs: status.podIPs }),
    },
  };
}
