/**
 * The agent's engine in a process of its own, so that its memory and CPU are its own and a crash of it is a failed
 * test and not a dead test run. Answers route misses from a function of the test.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type {
  BpfOptions,
  CapturedPod,
  Command,
  ConnectionRecord,
  EngineEvent,
  EngineOptions,
  EngineStats,
  PodConfig,
  PodId,
  Route,
  SocketAddress,
} from "../../agent/src/native.ts";
import { joinCgroup } from "./pod-bed.ts";

export interface EngineStart {
  readonly engine: Omit<EngineOptions, "onEvents">;
  /** Absent: no BPF plane; nothing is captured, 15008 works. */
  readonly bpf?: BpfOptions;
}

export type EngineCall = { readonly id: number } & (
  | { readonly method: "start"; readonly args: [EngineStart] }
  | { readonly method: "addPod"; readonly args: [PodConfig] }
  | { readonly method: "removePod"; readonly args: [PodId] }
  | { readonly method: "apply"; readonly args: [readonly Command[]] }
  | { readonly method: "connections"; readonly args: [] }
  | { readonly method: "stats"; readonly args: [] }
  | { readonly method: "drain"; readonly args: [number] }
  | { readonly method: "capture"; readonly args: [CapturedPod] }
  | { readonly method: "release"; readonly args: [bigint] }
  | { readonly method: "counters"; readonly args: [] }
  | { readonly method: "stop"; readonly args: [] }
);
type Request = EngineCall extends infer C ? (C extends EngineCall ? Omit<C, "id"> : never) : never;
type Answer =
  | { readonly events: readonly EngineEvent[] }
  | { readonly id: number; readonly result?: unknown; readonly error?: string };

export interface Usage {
  readonly residentBytes: number;
  /** Most resident memory since `resetPeak`. */
  readonly peakBytes: number;
  /** User and system time since start. */
  readonly cpuSeconds: number;
}

/** How long an engine may take to close before it is killed. */
const STOP_MS = 10_000;

export class EngineProcess {
  readonly events: EngineEvent[] = [];
  routes: (pod: PodId, destination: SocketAddress) => Route = () => ({ kind: "passthrough" });
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #nextId = 1;
  #stopped = false;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on("message", (answer: Answer) => this.#onAnswer(answer));
    child.once("exit", (code, signal) => {
      const error = new Error(`the engine process ended: code ${code}, signal ${signal}`);
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
      if (!this.#stopped) throw error;
    });
  }

  /** `cgroup`: where the process lives, so that its own sockets are not captured. */
  static async start(options: EngineStart, cgroup: string): Promise<EngineProcess> {
    const path = fileURLToPath(new URL("./engine-child.ts", import.meta.url));
    const child = fork(path, [], { serialization: "advanced", stdio: ["ignore", "inherit", "inherit", "ipc"] });
    if (child.pid === undefined) throw new Error(`cannot start ${path}`);
    joinCgroup(cgroup, child.pid);
    const engine = new EngineProcess(child);
    await engine.#ask({ method: "start", args: [options] });
    return engine;
  }

  async addPod(config: PodConfig): Promise<void> {
    await this.#ask({ method: "addPod", args: [config] });
  }
  async removePod(id: PodId): Promise<void> {
    await this.#ask({ method: "removePod", args: [id] });
  }
  async apply(commands: readonly Command[]): Promise<void> {
    await this.#ask({ method: "apply", args: [commands] });
  }
  async connections(): Promise<ConnectionRecord[]> {
    return (await this.#ask({ method: "connections", args: [] })) as ConnectionRecord[];
  }
  async stats(): Promise<EngineStats> {
    return (await this.#ask({ method: "stats", args: [] })) as EngineStats;
  }
  async drain(deadlineMs: number): Promise<void> {
    await this.#ask({ method: "drain", args: [deadlineMs] });
  }
  async capture(pod: CapturedPod): Promise<bigint> {
    return (await this.#ask({ method: "capture", args: [pod] })) as bigint;
  }
  async counters(): Promise<Record<string, number>> {
    return (await this.#ask({ method: "counters", args: [] })) as Record<string, number>;
  }

  /** Connections that have ended so far, as the engine reported them. */
  closed(): ConnectionRecord[] {
    return this.events.flatMap((event) => (event.type === "closed" ? [event.record] : []));
  }

  /** Starts measuring `peakBytes` anew. */
  resetPeak(): void {
    // proc(5): 5 resets the peak resident set size.
    writeFileSync(`/proc/${this.#child.pid}/clear_refs`, "5");
  }

  usage(): Usage {
    const pid = this.#child.pid;
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const bytes = (field: string): number =>
      Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]) * 1024;
    // utime and stime are fields 14 and 15; the name in field 2 may hold blanks but ends with the last parenthesis.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").pop()?.split(" ") ?? [];
    const ticksPerSecond = 100;
    return {
      residentBytes: bytes("VmRSS"),
      peakBytes: bytes("VmHWM"),
      cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
    };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    const force = setTimeout(() => this.#child.kill("SIGKILL"), STOP_MS);
    await this.#ask({ method: "stop", args: [] });
    this.#child.disconnect();
    await ended;
    clearTimeout(force);
  }

  #ask(request: Request): Promise<unknown> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, ...request }, (error) => {
        if (error !== null) reject(error);
      });
    });
  }

  #onAnswer(answer: Answer): void {
    if ("events" in answer) {
      this.events.push(...answer.events);
      for (const event of answer.events) {
        if (event.type !== "route-miss") continue;
        const { pod, destination } = event;
        this.apply([{ op: "set-route", pod, destination, route: this.routes(pod, destination) }]).catch(() => {
          // The process ended meanwhile; that is reported once, by its exit.
        });
      }
      return;
    }
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (answer.error === undefined) waiting?.resolve(answer.result);
    else waiting?.reject(new Error(answer.error));
  }
}
