/**
 * "Pods" as network namespaces on one bridge, with cgroups as a node has them: `<bed>/kubepods/pod<name>` for what
 * runs in pods and `<bed>/agent` for the engine. The host end of the bridge has an address too, so that the test process
 * itself can be a peer on the pod network. Everything carries the bed's name and goes with `dispose`.
 */

import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from "node:child_process";
import { mkdirSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { eventually } from "#lib/eventually.ts";
import { cgroupMount } from "../../playground/src/system/cgroup.ts";

export interface BedPod {
  readonly name: string;
  readonly netns: string;
  readonly netnsPath: string;
  readonly ip: string;
  readonly ip6: string;
  readonly cgroup: string;
}

export interface RunResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Longest interface name that Linux takes, without its NUL. */
const IFNAME_MAX = 15;

export class PodBed {
  readonly name: string;
  readonly #subnet: number;
  readonly #bridge: string;
  readonly #pods: BedPod[] = [];
  readonly #children = new Set<ChildProcess>();

  /** `tag`: up to 6 letters, unique per test file. `subnet`: the third byte of the bed's addresses. */
  constructor(tag: string, subnet: number) {
    this.name = `${tag}-${process.pid}`;
    this.#subnet = subnet;
    this.#bridge = this.name.slice(0, IFNAME_MAX);
    sh(`ip link add ${this.#bridge} type bridge mcast_snooping 0
        ip addr add ${this.hostIp}/24 dev ${this.#bridge}
        ip -6 addr add ${this.hostIp6}/64 dev ${this.#bridge} nodad
        ip link set ${this.#bridge} up`);
    mkdirSync(this.podsCgroup, { recursive: true });
    mkdirSync(this.agentCgroup, { recursive: true });
  }

  get hostIp(): string {
    return `10.88.${this.#subnet}.1`;
  }
  get hostIp6(): string {
    return `fd88:${this.#subnet}::1`;
  }
  get podsCgroup(): string {
    return `${cgroupMount()}/${this.name}/kubepods`;
  }
  get agentCgroup(): string {
    return `${cgroupMount()}/${this.name}/agent`;
  }

  /** `folder`: name of the pod's cgroup, as the kubelet or a runtime would call it. */
  addPod(name: string, folder = `pod${name}`): BedPod {
    const host = this.#pods.length + 2;
    const netns = `${this.name}-${name}`;
    const veth = `${this.#bridge.slice(0, IFNAME_MAX - 3)}v${host}`;
    const pod: BedPod = {
      name,
      netns,
      netnsPath: `/var/run/netns/${netns}`,
      ip: `10.88.${this.#subnet}.${host}`,
      ip6: `fd88:${this.#subnet}::${host}`,
      cgroup: `${this.podsCgroup}/${folder}`,
    };
    sh(`ip netns add ${netns}
        ip link add ${veth} type veth peer name eth0 netns ${netns}
        ip link set ${veth} master ${this.#bridge} up
        ip -n ${netns} link set lo up
        ip -n ${netns} addr add ${pod.ip}/24 dev eth0
        ip -n ${netns} -6 addr add ${pod.ip6}/64 dev eth0 nodad
        ip -n ${netns} link set eth0 up
        ip -n ${netns} route add default via ${this.hostIp}
        ip -n ${netns} -6 route add default via ${this.hostIp6}`);
    mkdirSync(pod.cgroup, { recursive: true });
    this.#pods.push(pod);
    return pod;
  }

  /** Starts a program in the pod: its network namespace and its cgroup. Ended by `dispose` at the latest. */
  spawn(pod: BedPod, command: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const enter = `echo $$ >"$0/cgroup.procs" && exec ip netns exec "$@"`;
    const child = spawn("/bin/sh", ["-c", enter, pod.cgroup, pod.netns, command, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      ...options,
    });
    this.#children.add(child);
    child.once("exit", () => this.#children.delete(child));
    return child;
  }

  /** Runs a program in the pod to its end. */
  run(pod: BedPod, command: string, args: readonly string[], options: SpawnOptions = {}): Promise<RunResult> {
    return finished(this.spawn(pod, command, args, { timeout: 60_000, ...options }));
  }

  /** Waits until something in the pod listens on the TCP port. */
  async listening(pod: BedPod, port: number): Promise<void> {
    await eventually(
      `a listener on port ${port} of pod ${pod.name}`,
      () => execFileSync("ip", ["netns", "exec", pod.netns, "ss", "-Hltn", `sport = :${port}`]).length > 0,
      20_000,
    );
  }

  async dispose(): Promise<void> {
    const gone = [...this.#children].map((child) => finished(child));
    for (const child of this.#children) child.kill("SIGKILL");
    await Promise.all(gone);
    for (const pod of this.#pods) {
      execFileSync("ip", ["netns", "del", pod.netns]);
    }
    execFileSync("ip", ["link", "del", this.#bridge]);
    await eventually("empty cgroups", () => {
      removeCgroupTree(`${cgroupMount()}/${this.name}`);
      return true;
    });
  }
}

/** Puts a process into a cgroup. */
export function joinCgroup(cgroup: string, pid: number): void {
  writeFileSync(`${cgroup}/cgroup.procs`, String(pid));
}

/** Collects output until the process has ended. */
export function finished(child: ChildProcess): Promise<RunResult> {
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    if (child.exitCode !== null || child.signalCode !== null) resolve({ code: child.exitCode, stdout, stderr });
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
}

function removeCgroupTree(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroupTree(`${path}/${entry.name}`);
  }
  rmdirSync(path);
}

function sh(script: string): void {
  execFileSync("/bin/sh", ["-eu", "-c", script], { stdio: ["ignore", "pipe", "pipe"] });
}
