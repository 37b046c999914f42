/** The process of fake-agent.cc: capture without an engine. */
import { type ChildProcess, spawn } from "node:child_process";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually } from "#lib/eventually.ts";
import { REASONS, type Reason } from "#lib/reasons.ts";
import { cgroupMount } from "../../playground/src/system/cgroup.ts";
import type { BedPod } from "../helpers/pod-bed.ts";
import { decodeEvents, type WeftEvent } from "./weft-event.ts";

export const FAKE_AGENT = fileURLToPath(new URL("../../build/test/capture-agent", import.meta.url));

export interface FakeAgentOptions {
  readonly pinDir: string;
  readonly podsCgroup: string;
  readonly agentCgroup: string;
  readonly kubeletCgroup: string;
  readonly maxFlows: number;
  /** As a release with another WEFT_ABI would be. */
  readonly next: boolean;
  /** The cgroup that is all that the node sees of the hierarchy, as of a node that is a container; it holds the others. */
  readonly nodeCgroup?: string;
}

/** Runs "$@" in the cgroup "$0". */
const IN_CGROUP = `echo $$ >"$0/cgroup.procs" && exec "$@"`;
/** Runs "$@" in the cgroup $1 below "$0", which is the root for it: mounted at $2, in a cgroup namespace of its own. */
const IN_OWN_ROOT = `echo $$ >"$0/cgroup.procs" && exec unshare --cgroup --mount sh -c '
  umount "$2" && mount -t cgroup2 none "$2" && echo $$ >"$2/$1/cgroup.procs" && shift 2 && exec "$@"' sh "$@"`;

/** What BPF may choose; `pod`: netns cookie of a direct one. */
export interface FakeEndpoint {
  readonly ip: string;
  readonly port: number;
  readonly path?: "direct" | "agent" | "plain";
  readonly pod?: string;
  readonly key?: number;
  readonly weight?: number;
}

const ENDPOINT_KINDS = { direct: 1, agent: 2, plain: 3 };

export class FakeAgent {
  readonly #child: ChildProcess;
  #output = "";

  static async start(options: FakeAgentOptions): Promise<FakeAgent> {
    const { pinDir, podsCgroup, agentCgroup, kubeletCgroup, maxFlows, next, nodeCgroup } = options;
    const seen = (path: string) => (nodeCgroup === undefined ? path : join(cgroupMount(), relative(nodeCgroup, path)));
    const cgroups = [podsCgroup, agentCgroup, kubeletCgroup].map(seen);
    const command = [next ? `${FAKE_AGENT}-next` : FAKE_AGENT, pinDir, ...cgroups, String(maxFlows)];
    const words =
      nodeCgroup === undefined
        ? [IN_CGROUP, agentCgroup, ...command]
        : [IN_OWN_ROOT, nodeCgroup, relative(nodeCgroup, agentCgroup), cgroupMount(), ...command];
    const child = spawn("/bin/sh", ["-c", ...words], { stdio: ["pipe", "pipe", "inherit"] });
    const agent = new FakeAgent(child);
    const first = await agent.#line();
    if (first !== "ready") throw new Error(first);
    return agent;
  }

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.on("data", (chunk: Buffer) => {
      this.#output += chunk.toString();
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Opens the pod's listeners and starts steering. Returns the netns cookie. */
  capture(pod: BedPod, options: { dns?: boolean; addresses?: readonly string[] } = {}): Promise<string> {
    return this.#capture("capture", pod, options);
  }

  /** Starts steering with nobody listening. */
  steer(pod: BedPod): Promise<string> {
    return this.#capture("steer", pod, {});
  }

  async release(cookie: string): Promise<void> {
    await this.#command(`release ${cookie}`);
  }

  captured(): Promise<string[]> {
    return this.#command("captured");
  }

  async count(reason: Reason): Promise<number> {
    const counters = await this.#command("counters");
    return Number(counters[REASONS[reason][0]]);
  }

  /** A route of the pod with this netns cookie. Endpoints count as direct when they say nothing else. */
  async setRoute(pod: string, ip: string, port: number, endpoints: readonly FakeEndpoint[]): Promise<void> {
    const words = endpoints.map((endpoint, i) => {
      const { key = i + 1, weight = 1, path = "direct", pod: netns = "0" } = endpoint;
      return [key, weight, endpoint.ip, endpoint.port, ENDPOINT_KINDS[path], netns].join(",");
    });
    await this.#command(`route ${pod} ${ip} ${port} ${words.join(" ")}`);
  }

  async removeRoute(pod: string, ip: string, port: number): Promise<void> {
    await this.#command(`unroute ${pod} ${ip} ${port}`);
  }

  /** For both families. */
  async setVerdict(source: string, destination: string, port: number, allow: boolean): Promise<void> {
    for (const family of [4, 6]) {
      await this.#command(`verdict ${source} ${destination} ${port} ${family} ${allow ? 1 : 0}`);
    }
  }

  async expireVerdicts(pod: string): Promise<void> {
    await this.#command(`expire ${pod}`);
  }

  async setOpen(pod: string, open: boolean): Promise<void> {
    await this.#command(`open ${pod} ${open ? 1 : 0}`);
  }

  async permitPlain(ms: number): Promise<void> {
    await this.#command(`permit ${ms}`);
  }

  /** What the ring holds, once. */
  async events(): Promise<WeftEvent[]> {
    return decodeEvents(Buffer.from((await this.#command("events")).join(""), "hex"));
  }

  /** What BPF alone handles and is open now. */
  async openConnections(): Promise<WeftEvent[]> {
    return decodeEvents(Buffer.from((await this.#command("connections")).join(""), "hex"));
  }

  /** Ends all that is open now, as after a change of policy. Returns how many there were. */
  async endConnections(): Promise<number> {
    return Number((await this.#command("end"))[0]);
  }

  /** How often each endpoint key has come with an original destination since the last time; 0: none was chosen. */
  async chosen(): Promise<Map<number, number>> {
    const words = await this.#command("chosen");
    return new Map(words.map((word) => word.split("=").map(Number) as [number, number]));
  }

  /** Whether the kernel takes the time of programs. */
  async measure(on: boolean): Promise<void> {
    await this.#command(`measure ${on ? 1 : 0}`);
  }

  /** Time and runs of the attached programs, by name, since they were loaded and while it was measured. */
  async costs(): Promise<Map<string, { readonly ns: number; readonly runs: number }>> {
    const words = await this.#command("costs");
    return new Map(
      words.map((word) => {
        const [, name = "", ns, runs] = /^(\w+)=(\d+)\/(\d+)$/.exec(word) ?? [];
        return [name, { ns: Number(ns), runs: Number(runs) }];
      }),
    );
  }

  /** Lets it not run, as on a machine that is busy with other things, until `resume`. */
  pause(): void {
    this.#child.kill("SIGSTOP");
  }

  resume(): void {
    this.#child.kill("SIGCONT");
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await gone;
  }

  async #capture(
    verb: string,
    pod: BedPod,
    { dns = false, addresses = [pod.ip, pod.ip6] }: { dns?: boolean; addresses?: readonly string[] },
  ): Promise<string> {
    const [cookie] = await this.#command(`${verb} ${pod.netnsPath} ${dns ? 1 : 0} ${addresses.join(",")}`);
    if (cookie === undefined) throw new Error("capture gave no cookie");
    return cookie;
  }

  async #command(line: string): Promise<string[]> {
    this.#child.stdin?.write(`${line}\n`);
    const [verdict, ...words] = (await this.#line()).split(" ");
    if (verdict !== "ok") throw new Error(words.join(" "));
    return words;
  }

  #line(): Promise<string> {
    return eventually(
      "an answer of the fake agent",
      () => {
        const end = this.#output.indexOf("\n");
        if (end < 0) return undefined;
        const line = this.#output.slice(0, end);
        this.#output = this.#output.slice(end + 1);
        return line;
      },
      30_000,
    );
  }
}
