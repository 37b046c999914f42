/** A node's worth of pods with a fake agent that captures for them, and programs that ask what an application sees. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually } from "#lib/eventually.ts";
import { cgroupMount } from "../../playground/src/system/cgroup.ts";
import { sweepBeds } from "../helpers/netns.ts";
import { type BedPod, finished, PodBed } from "../helpers/pod-bed.ts";
import { FakeAgent } from "./fake-agent.ts";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const TAG = "wcap";
/** Answers within milliseconds here; the margin is for a machine that does other things as well. */
const APP_TIMEOUT_MS = 60_000;
/** bpftool prints some 2 KB per entry; thousands of entries are looked at. */
const DUMP_MAX_BYTES = 64 * 1024 * 1024;

interface StartOptions {
  readonly maxFlows?: number;
  readonly agentCgroup?: string;
  readonly next?: boolean;
  /** The bed's cgroups are all that the agent's node sees; pods are to be there before. */
  readonly ownRoot?: boolean;
}

export class CaptureBed {
  readonly pods: PodBed;
  readonly pinDir: string;
  readonly kubeletCgroup: string;
  readonly #agents: FakeAgent[] = [];
  readonly #children = new Set<ChildProcess>();
  #podCount = 0;

  /** `subnet`: the third byte of the bed's addresses, unique per test file. */
  static async create(subnet: number): Promise<CaptureBed> {
    execFileSync("make", ["-s", "-C", HERE], { stdio: ["ignore", "ignore", "inherit"] });
    await sweepBeds(TAG);
    return new CaptureBed(subnet);
  }

  private constructor(subnet: number) {
    this.pods = new PodBed(TAG, subnet);
    this.pinDir = `/sys/fs/bpf/${this.pods.name}`;
    this.kubeletCgroup = `${cgroupMount()}/${this.pods.name}/kubelet`;
    mkdirSync(this.kubeletCgroup);
  }

  async startAgent(options: StartOptions = {}): Promise<FakeAgent> {
    const agentCgroup = options.agentCgroup ?? this.pods.agentCgroup;
    mkdirSync(agentCgroup, { recursive: true });
    const agent = await FakeAgent.start({
      pinDir: this.pinDir,
      podsCgroup: this.pods.podsCgroup,
      agentCgroup,
      kubeletCgroup: this.kubeletCgroup,
      maxFlows: options.maxFlows ?? 10_000,
      next: options.next ?? false,
      ...(options.ownRoot ? { nodeCgroup: dirname(this.pods.podsCgroup) } : {}),
    });
    this.#agents.push(agent);
    return agent;
  }

  /** A pod with a name that the bed has not used yet. */
  addPod(): BedPod {
    this.#podCount += 1;
    return this.pods.addPod(`p${this.#podCount}`);
  }

  /** Ends the agents and what they captured; pods and what runs in them stay. */
  async reset(): Promise<void> {
    for (const agent of this.#agents.splice(0)) await agent.kill();
    removePins(this.pinDir);
  }

  /** Runs Python in the pod (helpers of app.py are there) and returns the JSON that it prints. */
  async app(pod: BedPod, code: string): Promise<unknown> {
    return parse(await this.pods.run(pod, "python3", pythonArgs(code), { timeout: APP_TIMEOUT_MS }));
  }

  /** The same on the node itself, in the kubelet's cgroup. */
  async kubelet(code: string): Promise<unknown> {
    return parse(await finished(this.#spawnOnNode(this.kubeletCgroup, code)));
  }

  /** The same on the node itself, in the cgroup of neither a pod nor the kubelet: a peer outside the mesh. */
  async outside(code: string): Promise<unknown> {
    return parse(await finished(this.#spawnOnNode(cgroupMount(), code)));
  }

  /** Starts Python in the pod that stays, and waits until it says "ready". */
  async serve(pod: BedPod, code: string): Promise<Conversation> {
    const child = this.pods.spawn(pod, "python3", pythonArgs(code), { stdio: ["pipe", "pipe", "inherit"] });
    const conversation = new Conversation(child);
    if ((await conversation.next()) !== "ready") throw new Error(`server in pod ${pod.name} did not start`);
    return conversation;
  }

  /** Entries of a pinned map. */
  entries(map: string): number {
    const pin = `${this.pinDir}/v2/maps/${map}`;
    const dump = execFileSync("/usr/sbin/bpftool", ["-j", "map", "dump", "pinned", pin], { maxBuffer: DUMP_MAX_BYTES });
    return (JSON.parse(dump.toString()) as unknown[]).length;
  }

  /** Takes the pod's namespace away and makes it again with the same addresses, as when an address is used again. */
  replaceNetns(pod: BedPod): void {
    const old = JSON.parse(execFileSync("ip", ["-n", pod.netns, "-j", "link", "show", "eth0"]).toString()) as {
      link_index: number;
    }[];
    const device = JSON.parse(execFileSync("ip", ["-j", "link", "show"]).toString()) as {
      ifindex: number;
      ifname: string;
    }[];
    const veth = device.find((link) => link.ifindex === old[0]?.link_index)?.ifname;
    if (veth === undefined) throw new Error(`no host end of ${pod.netns}`);
    const script = `
      ip link del ${veth}; ip netns del ${pod.netns}; ip netns add ${pod.netns}
      ip link add ${veth} type veth peer name eth0 netns ${pod.netns}
      ip link set ${veth} master ${this.pods.name.slice(0, 15)} up
      ip -n ${pod.netns} link set lo up
      ip -n ${pod.netns} addr add ${pod.ip}/24 dev eth0
      ip -n ${pod.netns} -6 addr add ${pod.ip6}/64 dev eth0 nodad
      ip -n ${pod.netns} link set eth0 up
      ip -n ${pod.netns} route add default via ${this.pods.hostIp}`;
    execFileSync("/bin/sh", ["-eu", "-c", script]);
  }

  async dispose(): Promise<void> {
    await this.reset();
    for (const child of this.#children) child.kill("SIGKILL");
    await this.pods.dispose();
  }

  #spawnOnNode(cgroup: string, code: string): ChildProcess {
    const enter = `echo $$ >"$0/cgroup.procs" && exec "$@"`;
    const child = spawn("/bin/sh", ["-c", enter, cgroup, "python3", ...pythonArgs(code)], {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: APP_TIMEOUT_MS,
    });
    this.#children.add(child);
    child.once("exit", () => this.#children.delete(child));
    return child;
  }
}

/** Lines to and from a program. */
export class Conversation {
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  #rest = "";

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.on("data", (chunk: Buffer) => {
      const parts = (this.#rest + chunk.toString()).split("\n");
      this.#rest = parts.pop() ?? "";
      this.#lines.push(...parts);
    });
  }

  /** The next line that the program prints. */
  next(): Promise<string> {
    return eventually("a line of the program", () => this.#lines.shift(), 30_000);
  }

  async ask(line: string): Promise<string> {
    this.#child.stdin?.write(`${line}\n`);
    return this.next();
  }
}

function pythonArgs(code: string): string[] {
  return ["-B", "-c", `import sys; sys.path.insert(0, ${JSON.stringify(HERE)})\nfrom app import *\n${code}`];
}

function parse(result: { code: number | null; stdout: string; stderr: string }): unknown {
  if (result.code !== 0) throw new Error(`the program ended with ${result.code}: ${result.stderr}`);
  return JSON.parse(result.stdout);
}

function removePins(path: string): void {
  if (!existsSync(path)) return;
  for (const version of readdirSync(path)) {
    execFileSync("/bin/sh", [
      "-eu",
      "-c",
      'find "$0" -depth -type f -delete; find "$0" -depth -type d -delete',
      `${path}/${version}`,
    ]);
  }
  execFileSync("rmdir", [path]);
}
