/** The BPF plane of an agent that lives in a node's network namespace, and can die there. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { BpfOptions, BpfPlane, Shortcut } from "../../agent/src/native.ts";
import { joinCgroup } from "../helpers/pod-bed.ts";

export interface PlaneCall {
  readonly id: number;
  readonly method: keyof BpfPlane | "load" | "cleanup";
  readonly args: readonly unknown[];
}
interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

export class PlaneProcess {
  readonly #child: ChildProcess;
  readonly #gone: Promise<Answer>;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #calls = 0;

  static async start(node: string, options: BpfOptions): Promise<PlaneProcess> {
    const plane = new PlaneProcess(node, options.agentCgroup);
    await plane.#call("load", options);
    return plane;
  }

  private constructor(node: string, cgroup: string) {
    // Not `ip netns exec`, which hides the bpffs of the machine.
    this.#child = fork(fileURLToPath(new URL("redirect-child.ts", import.meta.url)), {
      execPath: "/usr/bin/nsenter",
      execArgv: [`--net=/var/run/netns/${node}`, process.execPath],
      serialization: "advanced",
    });
    this.#gone = once(this.#child, "exit").then(() => ({ id: 0, error: "the plane's process has ended" }));
    joinCgroup(cgroup, this.#child.pid ?? 0);
    this.#child.on("message", (answer: Answer) => {
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
  }

  capture(pod: Parameters<BpfPlane["capture"]>[0]): Promise<bigint> {
    return this.#call("capture", pod) as Promise<bigint>;
  }
  async release(cookie: bigint): Promise<void> {
    await this.#call("release", cookie);
  }
  async direct(commands: Parameters<BpfPlane["direct"]>[0]): Promise<void> {
    const failures = (await this.#call("direct", commands)) as string[];
    if (failures.length > 0) throw new Error(failures.join("; "));
  }
  async counters(): Promise<Record<string, number>> {
    return (await this.#call("counters")) as Record<string, number>;
  }
  async redirects(): Promise<Shortcut[]> {
    return (await this.#call("redirects")) as Shortcut[];
  }
  async checkRedirects(): Promise<void> {
    await this.#call("checkRedirects");
  }
  async cleanup(pinDir: string): Promise<void> {
    await this.#call("cleanup", pinDir);
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill("SIGKILL");
    await this.#gone;
  }

  async #call(method: PlaneCall["method"], ...args: readonly unknown[]): Promise<unknown> {
    const id = ++this.#calls;
    const answered = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve));
    this.#child.send({ id, method, args } satisfies PlaneCall);
    const { result, error }: Answer = await Promise.race([answered, this.#gone]);
    if (error !== undefined) throw new Error(error);
    return result;
  }
}
