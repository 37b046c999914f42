/** Pods that are in the mesh, on one PodBed, served by one engine process with BPF capture. */
import { type ChildProcess, execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Command, EngineOptions, PodId, Route } from "../../agent/src/native.ts";
import { EngineProcess } from "./engine-process.ts";
import { TestCa } from "./pki.ts";
import { type BedPod, PodBed } from "./pod-bed.ts";

export interface MeshPod extends BedPod {
  readonly id: PodId;
  readonly identity: string;
}

export const TRUST_DOMAIN = "cluster.local";

/** `spiffe://cluster.local/ns/default/sa/<name>`. */
export function identityOf(name: string): string {
  return `spiffe://${TRUST_DOMAIN}/ns/default/sa/${name}`;
}

export class MeshBed {
  readonly bed: PodBed;
  readonly ca: TestCa;
  readonly engine: EngineProcess;
  readonly pods: MeshPod[] = [];
  readonly #pinDir: string;

  private constructor(bed: PodBed, ca: TestCa, engine: EngineProcess, pinDir: string) {
    this.bed = bed;
    this.ca = ca;
    this.engine = engine;
    this.#pinDir = pinDir;
    engine.routes = (_pod, destination) => this.#route(destination.ip, destination.port);
  }

  static async create(tag: string, subnet: number, options: Omit<EngineOptions, "onEvents"> = {}): Promise<MeshBed> {
    const bed = new PodBed(tag, subnet);
    const pinDir = `${bpffs()}/${bed.name}`;
    try {
      const bpf = { pinDir, podsCgroup: bed.podsCgroup, agentCgroup: bed.agentCgroup };
      const engine = await EngineProcess.start({ engine: options, bpf }, bed.agentCgroup);
      return new MeshBed(bed, await TestCa.create(), engine, pinDir);
    } catch (error) {
      await bed.dispose();
      throw error;
    }
  }

  /** Makes a pod and enrols it with a certificate of its own. */
  async addPod(name: string): Promise<MeshPod> {
    const bedPod = this.bed.addPod(name);
    const pod: MeshPod = { ...bedPod, id: this.pods.length + 1, identity: identityOf(name) };
    const addresses = [pod.ip, pod.ip6];
    await this.engine.addPod({
      id: pod.id,
      uid: name,
      netnsPath: pod.netnsPath,
      addresses,
      identity: pod.identity,
      baggage: `k8s.namespace.name=default,k8s.pod.name=${name},service.name=${name}`,
    });
    await this.setIdentity(pod);
    await this.engine.apply([{ op: "set-pod-policies", pod: pod.id, policies: [] }]);
    await this.engine.capture({ id: pod.id, netnsPath: pod.netnsPath, addresses, dns: false });
    this.pods.push(pod);
    return pod;
  }

  async setIdentity(pod: MeshPod, ca: TestCa = this.ca): Promise<void> {
    const { chain, key } = await ca.issue(pod.identity);
    const command: Command = { op: "set-identity", identity: pod.identity, chain, key, roots: this.ca.root };
    await this.engine.apply([command]);
  }

  /** Starts test/peers/apps/<app>.ts in the pod and waits until it listens on its ports. */
  async startApp(pod: BedPod, app: string, ...ports: number[]): Promise<ChildProcess> {
    const child = this.bed.spawn(pod, process.execPath, [appPath(app), ...ports.map(String)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    for (const port of ports) await this.bed.listening(pod, port);
    return child;
  }

  async dispose(): Promise<void> {
    await this.engine.stop();
    rmSync(this.#pinDir, { recursive: true, force: true });
    await this.bed.dispose();
  }

  /** Enrolled pods through their agent, everything else as it is. */
  #route(ip: string, port: number): Route {
    const pod = this.pods.find((p) => p.ip === ip || p.ip6 === ip);
    if (pod === undefined) return { kind: "passthrough" };
    const authority = ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
    const tunnel = { authority, identities: [pod.identity] };
    return { kind: "endpoints", endpoints: [{ key: pod.id, weight: 1, dial: { ip, port: 15008 }, tunnel }] };
  }
}

export function appPath(app: string): string {
  return fileURLToPath(new URL(`../peers/apps/${app}.ts`, import.meta.url));
}

/** Where bpffs is; mounted when it is not. */
function bpffs(): string {
  const path = "/sys/fs/bpf";
  const type = execFileSync("stat", ["-f", "-c", "%T", path], { encoding: "utf8" }).trim();
  if (type !== "bpf_fs") execFileSync("mount", ["-t", "bpf", "bpf", path]);
  mkdirSync(path, { recursive: true });
  return path;
}
