/** One container of a pod: its process, restarts, probes and status. */

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pause } from "#lib/backoff.ts";
import { timestamp } from "../api/objects.ts";
import { type Image, resolveImage, UnknownImageError } from "../images.ts";
import type { Container as ContainerSpec, ContainerState, ContainerStatus, Probe } from "../kinds/types.ts";
import { isPopulated, killCgroup, makeCgroup, removeCgroup } from "../system/cgroup.ts";
import { EnvironmentError, expand } from "./environment.ts";
import { type ProbeTarget, runProbe } from "./prober.ts";
import { type ContainerSetup, containerScript, enterCommand, programCommand } from "./rootfs.ts";

/** Waiting times between restarts: shorter than Kubernetes' 10 s to 5 min, for somebody is watching. */
const BACKOFF_MS = { first: 1000, longest: 60_000 } as const;
/** A container that ran this long starts with a fresh back-off. */
const GOOD_RUN_MS = 60_000;
/** Of one run of a container. */
const MAX_LOG_BYTES = 32 * 1024 * 1024;
const IMAGE_RETRY_MS = 10_000;

/** What the pod gives its containers. */
export interface ContainerHost {
  readonly repository: string;
  readonly cgroup: string;
  readonly folder: string;
  readonly podIp: string;
  /** How to start a process in the pod with this image. Throws EnvironmentError while something is missing. */
  setup(container: ContainerSpec, image: Image, cgroup: string): Omit<ContainerSetup, "argv">;
  changed(): void;
  event(type: "Normal" | "Warning", reason: string, message: string): void;
}

export class Container {
  readonly spec: ContainerSpec;
  readonly #host: ContainerHost;
  readonly #restartPolicy: string;
  readonly #cgroup: string;
  readonly #stop = new AbortController();
  #state: ContainerState = { waiting: { reason: "ContainerCreating" } };
  #lastState: ContainerState = {};
  #restarts = 0;
  #isReady = false;
  #isStarted = false;
  #process: ChildProcess | undefined;
  #current: Omit<ContainerSetup, "argv"> | undefined;
  #graceSeconds: number | undefined;

  constructor(spec: ContainerSpec, restartPolicy: string, host: ContainerHost) {
    this.spec = spec;
    this.#restartPolicy = restartPolicy;
    this.#host = host;
    this.#cgroup = join(host.cgroup, spec.name);
  }

  get status(): ContainerStatus {
    return {
      name: this.spec.name,
      image: this.spec.image,
      imageID: this.#process === undefined && this.#restarts === 0 ? "" : `weft-playground://${this.spec.image}`,
      ...(this.#process?.pid === undefined ? {} : { containerID: `weft://${this.#process.pid}` }),
      ready: this.#isReady,
      started: this.#isStarted,
      restartCount: this.#restarts,
      state: this.#state,
      lastState: this.#lastState,
    };
  }

  get isRunning(): boolean {
    return this.#state.running !== undefined;
  }

  /** Ended for good: it will not be started again. */
  get exitCode(): number | undefined {
    return this.#isOver ? this.#state.terminated?.exitCode : undefined;
  }

  #isOver = false;

  logPath(previous = false): string {
    return join(this.#host.folder, "logs", `${this.spec.name}.${this.#restarts - (previous ? 1 : 0)}.log`);
  }

  /** Keeps the log from filling the disk: what is too long begins anew. */
  limitLog(): void {
    const path = this.logPath();
    if (existsSync(path) && statSync(path).size > MAX_LOG_BYTES) truncateSync(path);
  }

  /** Runs the container until it has ended for good or `stop` is called. Resolves with the last exit code. */
  async run(): Promise<number> {
    const signal = this.#stop.signal;
    let backoffMs: number = BACKOFF_MS.first;
    let code = 0;
    while (!signal.aborted) {
      const begun = performance.now();
      const image = await this.#image();
      if (image === undefined || signal.aborted) break;
      const ended = await this.#runOnce(image);
      if (ended === undefined) {
        // Not started; the reason is in the state.
        await pause(BACKOFF_MS.first, signal);
        continue;
      }
      code = ended;
      const again = this.#restartPolicy === "Always" || (this.#restartPolicy === "OnFailure" && code !== 0);
      if (!again || signal.aborted) break;
      if (performance.now() - begun > GOOD_RUN_MS) backoffMs = BACKOFF_MS.first;
      const message = `back-off ${backoffMs / 1000}s restarting failed container=${this.spec.name}`;
      this.#lastState = this.#state;
      this.#set({ waiting: { reason: "CrashLoopBackOff", message } });
      this.#host.event("Warning", "BackOff", `Back-off restarting failed container ${this.spec.name}`);
      await pause(backoffMs, signal);
      backoffMs = Math.min(BACKOFF_MS.longest, backoffMs * 2);
      if (!signal.aborted) this.#restarts += 1;
    }
    this.#isOver = true;
    this.#host.changed();
    return code;
  }

  /** SIGTERM, then after `graceSeconds` SIGKILL for all of its processes. */
  async stop(graceSeconds: number): Promise<void> {
    this.#graceSeconds = graceSeconds;
    const deadline = performance.now() + graceSeconds * 1000;
    const preStop = this.spec.lifecycle?.preStop;
    if (this.isRunning && preStop !== undefined && graceSeconds > 0) {
      if (preStop.sleep !== undefined)
        await pause(Math.min(preStop.sleep.seconds, graceSeconds) * 1000, new AbortController().signal);
      if (preStop.exec !== undefined) await this.exec(preStop.exec.command, graceSeconds * 1000);
    }
    this.#stop.abort();
    this.#setReady(false);
    const child = this.#process;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    if (graceSeconds > 0) child.kill("SIGTERM");
    else killCgroup(this.#cgroup);
    const timer = setTimeout(() => killCgroup(this.#cgroup), Math.max(0, deadline - performance.now()));
    await exited;
    clearTimeout(timer);
  }

  /** Ends a termination that takes too long for a client that asked for a shorter grace. */
  hurry(graceSeconds: number): void {
    if (this.#graceSeconds === undefined || graceSeconds >= this.#graceSeconds) return;
    setTimeout(() => killCgroup(this.#cgroup), graceSeconds * 1000).unref();
  }

  /** A further process in the running container. */
  command(argv: readonly string[]): { program: string; args: string[] } | undefined {
    const pid = this.#process?.pid;
    if (!this.isRunning || pid === undefined || this.#current === undefined) return undefined;
    const inside = `cd ${this.#current.workingDir} 2>/dev/null; exec ${programCommand({ ...this.#current, argv })}`;
    const enter = `echo $$ >"$0/cgroup.procs" && exec nsenter --target "$1" --mount --uts --net /bin/sh -c "$2"`;
    return { program: "/bin/sh", args: ["-c", enter, this.#cgroup, String(pid), inside] };
  }

  /** Runs a command in the container; resolves with its exit code, 124 when it took too long. */
  exec(argv: readonly string[], timeoutMs: number): Promise<number> {
    const command = this.command(argv);
    if (command === undefined) return Promise.resolve(1);
    return new Promise((resolve) => {
      const child = spawn(command.program, command.args, { stdio: "ignore" });
      const timer = setTimeout(() => {
        child.kill("SIGKILL");
        resolve(124);
      }, timeoutMs);
      child.on("error", () => resolve(1));
      child.on("exit", (code) => {
        clearTimeout(timer);
        resolve(code ?? 1);
      });
    });
  }

  async #image(): Promise<Image | undefined> {
    for (let isFirst = true; !this.#stop.signal.aborted; isFirst = false) {
      try {
        return resolveImage(this.spec.image, this.#host.repository);
      } catch (error) {
        if (!(error instanceof UnknownImageError)) throw error;
        this.#set({ waiting: { reason: isFirst ? "ErrImagePull" : "ImagePullBackOff", message: error.message } });
        this.#host.event("Warning", "Failed", `Failed to pull image: ${error.message}`);
        await pause(IMAGE_RETRY_MS, this.#stop.signal);
      }
    }
    return undefined;
  }

  /** The exit code, or undefined when the process could not be started. */
  async #runOnce(image: Image): Promise<number | undefined> {
    let setup: Omit<ContainerSetup, "argv">;
    let script: string;
    try {
      makeCgroup(this.#cgroup);
      setup = this.#host.setup(this.spec, image, this.#cgroup);
      const argv = commandOf(this.spec, image, setup.env);
      if (argv.length === 0)
        throw new EnvironmentError("the image has no command of its own and the container names none");
      script = containerScript({ ...setup, argv });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#set({ waiting: { reason: "CreateContainerConfigError", message } });
      this.#host.event("Warning", "Failed", `Error: ${message}`);
      return undefined;
    }
    const scriptPath = join(this.#host.folder, `${this.spec.name}.sh`);
    writeFileSync(scriptPath, script, { mode: 0o600 });
    mkdirSync(join(this.#host.folder, "logs"), { recursive: true });
    const log = openSync(this.logPath(), "a", 0o600);
    const [program = "", ...args] = enterCommand({ cgroup: this.#cgroup, netns: setup.netns }, scriptPath);
    const child = spawn(program, args, { stdio: ["ignore", log, log, "pipe"], env: {}, cwd: "/" });
    closeSync(log);
    this.#process = child;
    this.#current = setup;
    const startedAt = timestamp();
    const exit = new Promise<{ code: number; signal: NodeJS.Signals | null }>((resolve) => {
      child.once("error", () => resolve({ code: 128, signal: null }));
      child.once("exit", (code, signal) => resolve({ code: code ?? 128 + signalNumber(signal), signal }));
    });
    const probes = new AbortController();
    const hasStarted = await started(child);
    if (hasStarted) {
      this.#host.event("Normal", "Started", `Started container ${this.spec.name}`);
      this.#set({ running: { startedAt } });
      this.#startProbes(probes.signal);
    }
    const { code } = await exit;
    probes.abort();
    this.#isStarted = false;
    this.#setReady(false);
    // What the program has left behind goes with it.
    if (isPopulated(this.#cgroup)) killCgroup(this.#cgroup);
    await removeCgroup(this.#cgroup);
    if (!hasStarted)
      this.#host.event("Warning", "Failed", `Error: container ${this.spec.name} could not be set up; see its log`);
    const reason = !hasStarted ? "StartError" : code === 0 ? "Completed" : "Error";
    this.#set({ terminated: { exitCode: code, reason, startedAt, finishedAt: timestamp() } });
    return code;
  }

  #startProbes(signal: AbortSignal): void {
    const { startupProbe, readinessProbe, livenessProbe } = this.spec;
    const begin = () => {
      this.#isStarted = true;
      if (readinessProbe === undefined) this.#setReady(true);
      else this.#probe("Readiness", readinessProbe, signal, true, (ok) => this.#setReady(ok));
      if (livenessProbe !== undefined)
        this.#probe("Liveness", livenessProbe, signal, false, (ok) => ok || this.#restart("Liveness"));
      this.#host.changed();
    };
    if (startupProbe === undefined) {
      begin();
      return;
    }
    const stage = new AbortController();
    const either = AbortSignal.any([signal, stage.signal]);
    this.#probe("Startup", startupProbe, either, true, (ok) => {
      stage.abort();
      if (ok) begin();
      else this.#restart("Startup");
    });
  }

  #probe(kind: string, probe: Probe, signal: AbortSignal, isEager: boolean, onResult: (ok: boolean) => void): void {
    const target: ProbeTarget = {
      container: this.spec,
      podIp: this.#host.podIp,
      exec: (command, timeoutMs) => this.exec(command, timeoutMs),
    };
    const onFailure = (why: string) => this.#host.event("Warning", "Unhealthy", `${kind} probe failed: ${why}`);
    void runProbe(probe, target, { isEager, signal }, { onResult, onFailure });
  }

  #restart(probe: string): void {
    this.#host.event(
      "Normal",
      "Killing",
      `Container ${this.spec.name} failed ${probe.toLowerCase()} probe, will be restarted`,
    );
    this.#process?.kill("SIGTERM");
    const child = this.#process;
    setTimeout(() => {
      if (child?.exitCode === null && child === this.#process) killCgroup(this.#cgroup);
    }, BACKOFF_MS.first * 5).unref();
  }

  #set(state: ContainerState): void {
    this.#state = state;
    this.#host.changed();
  }

  #setReady(isReady: boolean): void {
    if (this.#isReady === isReady) return;
    this.#isReady = isReady;
    this.#host.changed();
  }
}

/** `command` replaces the image's entry point, `args` its arguments; as Kubernetes has it. */
function commandOf(spec: ContainerSpec, image: Image, env: Readonly<Record<string, string>>): string[] {
  const hasCommand = (spec.command?.length ?? 0) > 0;
  const head = hasCommand ? (spec.command ?? []) : image.entrypoint;
  const tail = spec.args ?? (hasCommand ? [] : image.command);
  return [...head, ...tail].map((word) => expand(word, env));
}

/** Whether the container's program has begun; false when setting it up has failed. */
function started(child: ChildProcess): Promise<boolean> {
  const pipe = child.stdio[3];
  return new Promise((resolve) => {
    if (!(pipe instanceof Readable)) {
      resolve(false);
      return;
    }
    pipe.once("data", () => resolve(true));
    pipe.once("close", () => resolve(false));
    pipe.on("error", () => resolve(false));
    child.once("error", () => resolve(false));
  });
}

const SIGNALS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGTERM: 15,
};

function signalNumber(signal: NodeJS.Signals | null): number {
  return signal === null ? 0 : (SIGNALS[signal] ?? 0);
}
