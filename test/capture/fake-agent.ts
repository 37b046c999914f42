/** The process of fake-agent.cc: capture without an engine. */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { eventually } from "#lib/eventually.ts";
import { REASONS, type Reason } from "#lib/reasons.ts";
import type { BedPod } from "../helpers/pod-bed.ts";

const BINARY = fileURLToPath(new URL("../../build/test/capture-agent", import.meta.url));

export interface FakeAgentOptions {
  readonly pinDir: string;
  readonly podsCgroup: string;
  readonly agentCgroup: string;
  readonly kubeletCgroup: string;
  readonly maxFlows: number;
}

export class FakeAgent {
  readonly #child: ChildProcess;
  #output = "";

  static async start(options: FakeAgentOptions): Promise<FakeAgent> {
    const enter = `echo $$ >"$0/cgroup.procs" && exec "$@"`;
    const { pinDir, podsCgroup, agentCgroup, kubeletCgroup, maxFlows } = options;
    const args = [BINARY, pinDir, podsCgroup, agentCgroup, kubeletCgroup, String(maxFlows)];
    const child = spawn("/bin/sh", ["-c", enter, agentCgroup, ...args], { stdio: ["pipe", "pipe", "inherit"] });
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
