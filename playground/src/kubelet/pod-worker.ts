/** One pod on its node, from its assignment to its end. */

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pause } from "#lib/backoff.ts";
import { sameJson, timestamp } from "../api/objects.ts";
import type { Image } from "../images.ts";
import type { Condition, Container as ContainerSpec, ContainerStatus, Pod, PodStatus } from "../kinds/types.ts";
import type { AddressPair, NetworkPlan } from "../network/plan.ts";
import { makeCgroup } from "../system/cgroup.ts";
import { setprivArguments } from "./capabilities.ts";
import { Container, type ContainerHost } from "./container.ts";
import { containerEnvironment, EnvironmentError, type PodFacts, type References } from "./environment.ts";
import type { ContainerSetup, Mount } from "./rootfs.ts";
import { type PodAddresses, Sandbox } from "./sandbox.ts";
import { PodVolumes, VolumeError, type VolumeSources } from "./volumes.ts";

/** What the kubelet gives its pods. */
export interface PodHost {
  readonly plan: NetworkPlan;
  readonly nodeNumber: number;
  readonly nodeAddress: AddressPair;
  readonly addresses: PodAddresses;
  readonly repository: string;
  readonly nodeDir: string;
  readonly cgroup: string;
  /** Environment of every container: where the API is. */
  readonly baseEnv: Readonly<Record<string, string>>;
  /** What containers in the node's own network are told beside. */
  readonly nodeEnv: Readonly<Record<string, string>>;
  readonly sources: VolumeSources;
  references(namespace: string): References;
  patchStatus(pod: Pod, status: PodStatus): Promise<void>;
  /** Tells the API that nothing of the pod is left. */
  finished(pod: Pod): Promise<void>;
  event(pod: Pod, type: "Normal" | "Warning", reason: string, message: string): void;
}

const VOLUME_RETRY_MS = 500;
const STATUS_RETRY_MS = 500;
/** Config maps show up in volumes as soon as they change; tokens are looked at this often at least. */
const VOLUME_RECHECK_MS = 60_000;

export class PodWorker {
  readonly #host: PodHost;
  readonly #cgroup: string;
  readonly #folder: string;
  readonly #volumes: PodVolumes;
  readonly #stop = new AbortController();
  readonly #startedAt = timestamp();
  #pod: Pod;
  #sandbox: Sandbox | undefined;
  #init: Container[] = [];
  #containers: Container[] = [];
  #isMounted = false;
  #isInitialized = false;
  #running: Promise<void> | undefined;
  #ending: Promise<void> | undefined;
  #conditions: Condition[] = [];
  #failure: string | undefined;
  #sent: PodStatus | undefined;
  #sending = false;
  /** Something has changed since the last status was made. */
  #isStale = false;

  constructor(pod: Pod, host: PodHost) {
    this.#pod = pod;
    this.#host = host;
    this.#cgroup = join(host.cgroup, `pod${pod.metadata.uid}`);
    this.#folder = join(host.nodeDir, "pods", pod.metadata.uid);
    this.#volumes = new PodVolumes(join(this.#folder, "volumes"), host.nodeDir, host.sources);
  }

  get pod(): Pod {
    return this.#pod;
  }

  start(): void {
    this.#running = this.#run().catch((error) => {
      this.#failure = error instanceof Error ? error.message : String(error);
      this.#event("Warning", "FailedCreatePodSandBox", this.#failure);
      this.#changed();
    });
  }

  /** A later state of the same pod. */
  update(pod: Pod): void {
    const before = this.#pod;
    this.#pod = pod;
    if (!sameJson(before.metadata.labels, pod.metadata.labels)) this.refreshVolumes();
    const grace = pod.metadata.deletionGracePeriodSeconds;
    if (this.#ending !== undefined && grace !== undefined) for (const each of this.#all()) each.hurry(grace);
  }

  /** Something that a volume shows may have changed. */
  refreshVolumes(): void {
    if (this.#stop.signal.aborted || !this.#isMounted) return;
    this.#volumes.write(this.#facts()).catch((error: Error) => this.#event("Warning", "FailedMount", error.message));
  }

  limitLogs(): void {
    for (const each of this.#containers) each.limitLog();
  }

  /** Path of the pod's network namespace, while there is one. */
  get netns(): string | undefined {
    return this.#sandbox?.netns;
  }

  container(name: string): Container | undefined {
    return this.#all().find((each) => each.spec.name === name);
  }

  /** Ends the pod; the same promise for every caller. */
  terminate(graceSeconds: number): Promise<void> {
    this.#ending ??= this.#terminate(graceSeconds);
    return this.#ending;
  }

  async #run(): Promise<void> {
    const { spec, metadata } = this.#pod;
    this.#changed();
    makeCgroup(this.#cgroup);
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    this.#sandbox =
      spec.hostNetwork === true
        ? await Sandbox.onHost(this.#cgroup, this.#host.nodeAddress)
        : await Sandbox.create(this.#cgroup, metadata.uid, {
            plan: this.#host.plan,
            node: this.#host.nodeNumber,
            addresses: this.#host.addresses,
          });
    this.#writeEtc();
    this.#changed();
    await this.#mountVolumes();
    // A pod may be deleted before it has begun.
    if (this.#stop.signal.aborted) return;
    const host = this.#containerHost();
    const policy = spec.restartPolicy ?? "Always";
    this.#init = (spec.initContainers ?? []).map(
      (each) => new Container(each, policy === "Always" ? "OnFailure" : policy, host),
    );
    this.#containers = spec.containers.map((each) => new Container(each, policy, host));
    for (const container of this.#init) {
      const code = await container.run();
      if (this.#stop.signal.aborted) return;
      if (code !== 0) {
        this.#failure = `init container ${container.spec.name} failed with exit code ${code}`;
        this.#changed();
        return;
      }
    }
    this.#isInitialized = true;
    this.#changed();
    void this.#keepVolumes();
    await Promise.all(this.#containers.map((container) => container.run()));
  }

  async #mountVolumes(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.#volumes.write(this.#facts());
        this.#isMounted = true;
        return;
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        this.#event("Warning", "FailedMount", `MountVolume.SetUp failed: ${message}`);
        if (!(error instanceof VolumeError) && !(error instanceof EnvironmentError)) this.#changed();
        await pause(VOLUME_RETRY_MS, this.#stop.signal);
      }
    }
  }

  async #keepVolumes(): Promise<void> {
    const { signal } = this.#stop;
    for (;;) {
      await pause(Math.min(VOLUME_RECHECK_MS, this.#volumes.renewInMs ?? VOLUME_RECHECK_MS), signal);
      if (signal.aborted) return;
      this.refreshVolumes();
    }
  }

  async #terminate(graceSeconds: number): Promise<void> {
    if (this.#all().some((each) => each.isRunning)) {
      for (const each of this.#containers) this.#event("Normal", "Killing", `Stopping container ${each.spec.name}`);
    }
    this.#stop.abort();
    await Promise.all(this.#all().map((each) => each.stop(graceSeconds)));
    await this.#running;
    await this.#sandbox?.remove();
    rmSync(this.#folder, { recursive: true, force: true });
    await this.#host.finished(this.#pod);
  }

  #all(): Container[] {
    return [...this.#init, ...this.#containers];
  }

  #facts(): PodFacts {
    const { v4, v6 } = this.#host.nodeAddress;
    return { pod: this.#pod, podIps: this.#sandbox?.addresses ?? [], hostIps: [v4, v6] };
  }

  #hostname(): string {
    const { spec, metadata } = this.#pod;
    return spec.hostNetwork === true ? (spec.nodeName ?? "") : (spec.hostname ?? metadata.name).slice(0, 63);
  }

  #writeEtc(): void {
    const { spec, metadata } = this.#pod;
    const namespace = metadata.namespace ?? "";
    const domain = "cluster.local";
    const usesCluster =
      spec.dnsPolicy === "ClusterFirstWithHostNet" || (spec.dnsPolicy === "ClusterFirst" && !spec.hostNetwork);
    const isNone = spec.dnsPolicy === "None";
    const nameservers = spec.dnsConfig?.nameservers ?? (isNone ? [] : [this.#host.plan.dnsService.v4]);
    const searches = [
      ...(usesCluster ? [`${namespace}.svc.${domain}`, `svc.${domain}`, domain] : []),
      ...(spec.dnsConfig?.searches ?? []),
    ];
    const options = (spec.dnsConfig?.options ?? (usesCluster ? [{ name: "ndots", value: "5" }] : [])).map((each) =>
      each.value === undefined ? each.name : `${each.name}:${each.value}`,
    );
    const resolv = [
      ...nameservers.map((each) => `nameserver ${each}`),
      ...(searches.length > 0 ? [`search ${searches.join(" ")}`] : []),
      ...(options.length > 0 ? [`options ${options.join(" ")}`] : []),
    ];
    const hostname = this.#hostname();
    const fullName = spec.subdomain === undefined ? "" : `${hostname}.${spec.subdomain}.${namespace}.svc.${domain}\t`;
    const hosts = [
      "127.0.0.1\tlocalhost",
      "::1\tlocalhost ip6-localhost ip6-loopback",
      ...(this.#sandbox?.addresses ?? []).map((ip) => `${ip}\t${fullName}${hostname}`),
      ...(spec.hostAliases ?? []).map((each) => `${each.ip}\t${each.hostnames.join(" ")}`),
    ];
    mkdirSync(join(this.#folder, "etc"), { recursive: true });
    const write = (name: string, lines: readonly string[]) =>
      writeFileSync(join(this.#folder, "etc", name), `${lines.join("\n")}\n`, { mode: 0o644 });
    write("resolv.conf", resolv);
    write("hosts", hosts);
    write("hostname", [hostname]);
  }

  #containerHost(): ContainerHost {
    return {
      repository: this.#host.repository,
      cgroup: this.#cgroup,
      folder: this.#folder,
      podIp: this.#sandbox?.addresses[0] ?? "",
      setup: (container, image, cgroup) => this.#setup(container, image, cgroup),
      changed: () => this.#changed(),
      event: (type, reason, message) => this.#event(type, reason, message),
    };
  }

  #setup(container: ContainerSpec, image: Image, cgroup: string): Omit<ContainerSetup, "argv"> {
    const { spec, metadata } = this.#pod;
    if (this.#sandbox === undefined) throw new EnvironmentError("the pod has no network yet");
    const rootDir = join(this.#folder, "root");
    mkdirSync(rootDir, { recursive: true });
    const base = {
      ...image.env,
      HOSTNAME: this.#hostname(),
      ...this.#host.baseEnv,
      ...(spec.hostNetwork === true ? this.#host.nodeEnv : {}),
    };
    const mounts = (container.volumeMounts ?? []).map((mount): Mount => {
      const volume = spec.volumes?.find((each) => each.name === mount.name);
      if (volume === undefined) throw new EnvironmentError(`no volume "${mount.name}"`);
      const source = join(this.#volumes.pathOf(volume), mount.subPath ?? "");
      const isWritable = volume.emptyDir !== undefined || volume.hostPath !== undefined;
      return { source, target: mount.mountPath, readOnly: mount.readOnly === true || !isWritable };
    });
    const isPrivileged = container.securityContext?.privileged === true;
    const seesKernel =
      isPrivileged || container.securityContext?.capabilities?.add?.some((each) => KERNEL_CAPS.test(each));
    return {
      cgroup,
      netns: this.#sandbox.netns,
      hostname: this.#hostname(),
      rootDir,
      etcFiles: ["resolv.conf", "hosts", "hostname"].map((name) => join(this.#folder, "etc", name)),
      mounts,
      seesKernel: seesKernel ? { bpf: join(this.#host.nodeDir, "bpf") } : undefined,
      repository: this.#host.repository,
      workingDir: container.workingDir ?? image.workingDir,
      env: containerEnvironment(container, this.#facts(), this.#host.references(metadata.namespace ?? ""), base),
      setpriv: setprivArguments(container.securityContext, spec.securityContext),
    };
  }

  #event(type: "Normal" | "Warning", reason: string, message: string): void {
    this.#host.event(this.#pod, type, reason, message);
  }

  #changed(): void {
    this.#isStale = true;
    if (this.#sending) return;
    this.#sending = true;
    // One patch for all changes of this turn.
    setImmediate(() => void this.#send());
  }

  /** One patch at a time: of two on their way the older one could arrive last, and stay. */
  async #send(): Promise<void> {
    while (this.#isStale) {
      this.#isStale = false;
      const status = this.#status();
      if (sameJson(status, this.#sent)) continue;
      try {
        await this.#host.patchStatus(this.#pod, status);
        this.#sent = status;
      } catch {
        this.#sent = undefined;
        await pause(STATUS_RETRY_MS, this.#stop.signal);
        if (this.#stop.signal.aborted) break;
        this.#isStale = true;
      }
    }
    this.#sending = false;
  }

  #status(): PodStatus {
    const { spec } = this.#pod;
    const waiting = (each: ContainerSpec, reason: string): ContainerStatus => ({
      name: each.name,
      image: each.image,
      imageID: "",
      ready: false,
      started: false,
      restartCount: 0,
      state: { waiting: { reason } },
      lastState: {},
    });
    const containers =
      this.#containers.length > 0
        ? this.#containers.map((each) => (this.#isInitialized ? each.status : waiting(each.spec, "PodInitializing")))
        : spec.containers.map((each) => waiting(each, "ContainerCreating"));
    const init = this.#init.length > 0 ? this.#init.map((each) => each.status) : undefined;
    const isReady = this.#isInitialized && containers.every((each) => each.ready);
    const phase = this.#phase();
    const readyReason = isReady ? {} : { reason: "ContainersNotReady" };
    this.#conditions = [
      this.#condition("PodReadyToStartContainers", this.#sandbox !== undefined),
      this.#condition("Initialized", this.#isInitialized),
      this.#condition("ContainersReady", isReady, readyReason),
      this.#condition("Ready", isReady, readyReason),
    ];
    const ips = this.#sandbox?.addresses ?? [];
    const { v4, v6 } = this.#host.nodeAddress;
    return {
      phase,
      ...(this.#failure === undefined ? {} : { message: this.#failure }),
      conditions: this.#conditions,
      hostIP: v4,
      hostIPs: [{ ip: v4 }, { ip: v6 }],
      ...(ips[0] === undefined ? {} : { podIP: ips[0], podIPs: ips.map((each) => ({ ip: each })) }),
      startTime: this.#startedAt,
      containerStatuses: containers,
      ...(init === undefined ? {} : { initContainerStatuses: init }),
    };
  }

  #phase(): string {
    if (this.#failure !== undefined && this.#init.some((each) => each.exitCode !== undefined && each.exitCode !== 0))
      return "Failed";
    const codes = this.#containers.map((each) => each.exitCode);
    if (codes.length > 0 && codes.every((code) => code !== undefined)) {
      return codes.every((code) => code === 0) ? "Succeeded" : "Failed";
    }
    const hasRun = this.#containers.some(
      (each) => each.isRunning || each.status.restartCount > 0 || each.status.lastState.terminated,
    );
    return hasRun ? "Running" : "Pending";
  }

  #condition(type: string, isTrue: boolean, extra: { reason?: string } = {}): Condition {
    const status = isTrue ? "True" : "False";
    const old = this.#conditions.find((each) => each.type === type);
    const lastTransitionTime = old?.status === status ? (old.lastTransitionTime ?? timestamp()) : timestamp();
    return { type, status, lastTransitionTime, ...extra };
  }
}

/** With one of these a program deals with BPF or other pods' namespaces. */
const KERNEL_CAPS = /^(CAP_)?(BPF|SYS_ADMIN|NET_ADMIN|ALL)$/i;
