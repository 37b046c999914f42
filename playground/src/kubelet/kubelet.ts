/** The kubelet of one node: watches its pods, runs them, reports; and keeps the node's service addresses. */

import { release } from "node:os";
import { join } from "node:path";
import { KubeClient } from "#lib/kube/client.ts";
import { isConflict, isNotFound } from "#lib/kube/errors.ts";
import { Reflector } from "#lib/kube/reflector.ts";
import type { ConfigMap, KubeObject, ResourceType, Secret } from "#lib/kube/types.ts";
import { VERSION } from "../api/discovery.ts";
import { timestamp } from "../api/objects.ts";
import { API_PORT, type KubeletConfig } from "../config.ts";
import { eventName } from "../controllers/event-name.ts";
import type { EndpointSlice, Pod, PodStatus, Service } from "../kinds/types.ts";
import { MAX_PODS_PER_NODE, networkPlan } from "../network/plan.ts";
import { makeCgroup, removeCgroup } from "../system/cgroup.ts";
import { type PodHost, PodWorker } from "./pod-worker.ts";
import { PodAddresses } from "./sandbox.ts";
import { KubeletServer } from "./server.ts";
import { ServiceProxy } from "./service-proxy.ts";

function core<T extends KubeObject>(kind: string, plural: string, namespaced = true): ResourceType<T> {
  return { group: "", version: "v1", kind, plural, namespaced };
}

const PODS = core<Pod>("Pod", "pods");
const SERVICES = core<Service>("Service", "services");
const CONFIG_MAPS = core<ConfigMap>("ConfigMap", "configmaps");
const SECRETS = core<Secret>("Secret", "secrets");
const EVENTS = core<KubeObject>("Event", "events");
const NODES = core<KubeObject>("Node", "nodes", false);
const SLICES: ResourceType<EndpointSlice> = {
  group: "discovery.k8s.io",
  version: "v1",
  kind: "EndpointSlice",
  plural: "endpointslices",
  namespaced: true,
};
/** The API server starts at the same time as we do. */
const RETRY_MS = [20, 1000] as const;
const LOG_CHECK_MS = 5000;

export class Kubelet {
  readonly #config: KubeletConfig;
  readonly #client: KubeClient;
  readonly #workers = new Map<string, PodWorker>();
  readonly #configMaps = new Map<string, ConfigMap>();
  readonly #secrets = new Map<string, Secret>();
  readonly #stop = new AbortController();
  readonly #host: PodHost;
  readonly #proxy: ServiceProxy;
  readonly #server: KubeletServer;
  readonly #report: (message: string) => void;

  constructor(config: KubeletConfig, report: (message: string) => void) {
    this.#config = config;
    this.#report = report;
    const plan = networkPlan(config.index);
    this.#client = new KubeClient({
      server: `https://${plan.fabric.v4}:${API_PORT}`,
      ca: config.ca,
      cert: config.client.cert,
      key: config.client.key,
    });
    this.#proxy = new ServiceProxy(plan, config.node.name, report);
    this.#server = new KubeletServer((uid) => this.#workers.get(uid));
    this.#host = {
      plan,
      nodeNumber: config.node.number,
      nodeAddress: plan.node(config.node.number),
      addresses: new PodAddresses(),
      repository: config.repository,
      nodeDir: config.nodeDir,
      cgroup: join(config.cgroup, "kubepods"),
      baseEnv: {
        KUBERNETES_SERVICE_HOST: plan.kubernetesService.v4,
        KUBERNETES_SERVICE_PORT: "443",
        KUBERNETES_SERVICE_PORT_HTTPS: "443",
      },
      // All nodes share one kernel, so each node's programs are pinned in a folder of their own.
      nodeEnv: { WEFT_BPFFS_DIR: `/sys/fs/bpf/weft-${config.playground}-${config.node.name}` },
      sources: {
        configMap: (namespace, name) => decoded(this.#configMaps.get(`${namespace}/${name}`)?.data, "utf8"),
        secret: (namespace, name) => decoded(this.#secrets.get(`${namespace}/${name}`)?.data, "base64"),
        token: (pod, audience, seconds) => this.#token(pod, audience, seconds),
      },
      references: (namespace) => ({
        configMap: (name) => this.#configMaps.get(`${namespace}/${name}`)?.data,
        secret: (name) => plainText(this.#secrets.get(`${namespace}/${name}`)?.data),
      }),
      patchStatus: (pod, status) => this.#patchStatus(pod, status),
      finished: (pod) => this.#finished(pod),
      event: (pod, type, reason, message) => void this.#event(pod, type, reason, message),
    };
  }

  /** Resolves when the node is registered and everything it watches has been seen once. */
  async start(): Promise<void> {
    makeCgroup(this.#host.cgroup);
    await this.#server.listen(join(this.#config.nodeDir, "kubelet.sock"));
    const config = this.#follow<ConfigMap>(CONFIG_MAPS, this.#configMaps, () => this.#refreshVolumes());
    const secrets = this.#follow<Secret>(SECRETS, this.#secrets, () => this.#refreshVolumes());
    const services = this.#follow<Service>(SERVICES, this.#proxy.services, () => this.#proxy.changed());
    const slices = this.#follow<EndpointSlice>(SLICES, this.#proxy.slices, () => this.#proxy.changed());
    await Promise.all([config, secrets, services, slices]);
    await Promise.all([this.#proxy.apply(), this.#register()]);
    await this.#followPods();
    const logs = setInterval(() => {
      for (const worker of this.#workers.values()) worker.limitLogs();
    }, LOG_CHECK_MS);
    this.#stop.signal.addEventListener("abort", () => clearInterval(logs));
  }

  /** Ends all pods at once. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await removeCgroup(this.#host.cgroup);
    this.#client.close();
  }

  async #register(): Promise<void> {
    const { name, number, labels } = this.#config.node;
    const plan = this.#host.plan;
    const address = plan.node(number);
    const range = plan.nodePods(number);
    const node = {
      metadata: { name, labels: { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", ...labels } },
      spec: { podCIDR: range.v4, podCIDRs: [range.v4, range.v6] },
    };
    await this.#client.create(NODES, node as KubeObject);
    const now = timestamp();
    const status = {
      addresses: [
        { type: "InternalIP", address: address.v4 },
        { type: "InternalIP", address: address.v6 },
        { type: "Hostname", address: name },
      ],
      conditions: [
        {
          type: "Ready",
          status: "True",
          reason: "KubeletReady",
          message: "the playground's kubelet runs",
          lastHeartbeatTime: now,
          lastTransitionTime: now,
        },
      ],
      capacity: { pods: String(MAX_PODS_PER_NODE - 1) },
      allocatable: { pods: String(MAX_PODS_PER_NODE - 1) },
      nodeInfo: {
        kubeletVersion: VERSION.gitVersion,
        kernelVersion: release(),
        osImage: "this machine",
        containerRuntimeVersion: "weft-playground://1",
        operatingSystem: "linux",
        architecture: process.arch === "x64" ? "amd64" : process.arch,
      },
    };
    await this.#client.patch(NODES, { name }, "merge", { status }, { subresource: "status" });
  }

  #follow<T extends KubeObject>(type: ResourceType<T>, into: Map<string, T>, changed: () => void): Promise<void> {
    const key = (object: T) => `${object.metadata.namespace}/${object.metadata.name}`;
    const reflector = new Reflector<T>(this.#client, {
      type,
      backoffMs: RETRY_MS,
      handler: {
        replace(objects) {
          into.clear();
          for (const object of objects) into.set(key(object), object);
          changed();
        },
        upsert(object) {
          into.set(key(object), object);
          changed();
        },
        remove(object) {
          into.delete(key(object));
          changed();
        },
      },
    });
    void reflector.run(this.#stop.signal);
    return reflector.synced;
  }

  #followPods(): Promise<void> {
    const reflector = new Reflector<Pod>(this.#client, {
      type: PODS,
      fieldSelector: `spec.nodeName=${this.#config.node.name}`,
      backoffMs: RETRY_MS,
      handler: {
        replace: (pods) => {
          const present = new Set(pods.map((pod) => pod.metadata.uid));
          for (const pod of pods) this.#onPod(pod);
          for (const [uid, worker] of this.#workers) if (!present.has(uid)) this.#end(worker, 0);
        },
        upsert: (pod) => this.#onPod(pod),
        remove: (pod) => {
          const worker = this.#workers.get(pod.metadata.uid);
          if (worker !== undefined) this.#end(worker, 0);
        },
      },
    });
    void reflector.run(this.#stop.signal);
    return reflector.synced;
  }

  #onPod(pod: Pod): void {
    const { uid, deletionTimestamp, deletionGracePeriodSeconds } = pod.metadata;
    const known = this.#workers.get(uid);
    if (known === undefined) {
      if (deletionTimestamp !== undefined) {
        void this.#finished(pod);
        return;
      }
      if (pod.status.phase === "Succeeded" || pod.status.phase === "Failed") return;
      const worker = new PodWorker(pod, this.#host);
      this.#workers.set(uid, worker);
      worker.start();
      return;
    }
    known.update(pod);
    if (deletionTimestamp !== undefined) this.#end(known, deletionGracePeriodSeconds ?? 30);
  }

  #end(worker: PodWorker, graceSeconds: number): void {
    const { uid, name } = worker.pod.metadata;
    worker
      .terminate(graceSeconds)
      .catch((error: Error) => this.#report(`pod ${name} did not end cleanly: ${error.message}`))
      .finally(() => this.#workers.delete(uid));
  }

  #refreshVolumes(): void {
    for (const worker of this.#workers.values()) worker.refreshVolumes();
  }

  async #patchStatus(pod: Pod, status: PodStatus): Promise<void> {
    const { namespace, name, uid } = pod.metadata;
    try {
      await this.#client.patch(
        PODS,
        { namespace, name },
        "strategic",
        { metadata: { uid }, status },
        { subresource: "status" },
      );
    } catch (error) {
      // The pod is gone, or another one has its name.
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }

  async #finished(pod: Pod): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const { namespace, name, uid } = pod.metadata;
    try {
      // A pod that has ended is removed at once, whatever its grace period.
      const status = { phase: pod.status.phase === "Failed" ? "Failed" : "Succeeded" };
      await this.#client.patch(
        PODS,
        { namespace, name },
        "merge",
        { metadata: { uid }, status },
        { subresource: "status" },
      );
      await this.#client.delete(PODS, { namespace, name });
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) this.#report(`pod ${name} was not removed from the API: ${error}`);
    }
  }

  async #token(pod: Pod, audience: string | undefined, expirationSeconds: number): Promise<string> {
    const account = pod.spec.serviceAccountName ?? "default";
    const { namespace, name, uid } = pod.metadata;
    const type = core<KubeObject & { status?: { token?: string } }>("TokenRequest", `serviceaccounts/${account}/token`);
    const request = {
      metadata: { name: account, namespace },
      spec: {
        ...(audience === undefined ? {} : { audiences: [audience] }),
        expirationSeconds,
        boundObjectRef: { apiVersion: "v1", kind: "Pod", name, uid },
      },
    };
    const answer = await this.#client.create(
      { ...type, group: "" },
      request as unknown as KubeObject & { status?: { token?: string } },
    );
    return answer.status?.token ?? "";
  }

  async #event(pod: Pod, type: string, reason: string, message: string): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const { namespace, uid } = pod.metadata;
    const name = eventName(pod.metadata.name, uid, reason, message);
    const now = timestamp();
    const event = {
      metadata: { name, namespace },
      involvedObject: { kind: "Pod", apiVersion: "v1", namespace, name: pod.metadata.name, uid },
      reason,
      message,
      type,
      source: { component: "kubelet", host: this.#config.node.name },
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
      reportingComponent: "kubelet",
      reportingInstance: this.#config.node.name,
    };
    try {
      await this.#client.create(EVENTS, event as unknown as KubeObject);
    } catch (error) {
      if (!isConflict(error)) return;
      const found = await this.#client.get(EVENTS, { namespace, name }).catch(() => undefined);
      const count = Number((found as { count?: number } | undefined)?.count ?? 1) + 1;
      await this.#client.patch(EVENTS, { namespace, name }, "merge", { count, lastTimestamp: now }).catch(() => {});
    }
  }
}

function decoded(
  data: Readonly<Record<string, string>> | undefined,
  encoding: BufferEncoding,
): Record<string, Buffer> | undefined {
  if (data === undefined) return undefined;
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value, encoding)]));
}

function plainText(data: Readonly<Record<string, string>> | undefined): Record<string, string> | undefined {
  if (data === undefined) return undefined;
  return Object.fromEntries(
    Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString("utf8")]),
  );
}
