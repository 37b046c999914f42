/** The real agent as a process, as a node runs it, with fakes of the Kubernetes API and of the control plane. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { eventually } from "#lib/eventually.ts";
import { joinCgroup } from "./pod-bed.ts";

export interface AgentProcessOptions {
  readonly env: Readonly<Record<string, string>>;
  /** Where the process lives, so that its own sockets are not captured. */
  readonly cgroup: string;
}

/** A line of the agent's JSON log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly scope: string; readonly message: string };

const BIN = fileURLToPath(new URL("../../agent/bin/weft-agent", import.meta.url));

export class AgentProcess {
  /** Since the start, or since `forgetLines`. */
  lines: LogLine[] = [];
  readonly #child: ChildProcess;
  #stderr = "";
  #partial = "";
  #started: LogLine | undefined;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding("utf8");
    child.stdout?.on("data", (text: string) => this.#onOutput(text));
    child.stderr?.setEncoding("utf8");
    child.stderr?.on("data", (text: string) => {
      this.#stderr += text;
    });
  }

  /** Resolves when its HTTP servers are bound. */
  static async start({ env, cgroup }: AgentProcessOptions): Promise<AgentProcess> {
    // The shell enters the cgroup before anything of the agent runs.
    const child = spawn("/bin/sh", ["-c", 'read -r _; exec "$0"', BIN], {
      stdio: ["pipe", "pipe", "pipe"],
      env: {
        PATH: process.env.PATH ?? "",
        LOG_FORMAT: "json",
        ADMIN_ADDR: "127.0.0.1:0",
        STATS_ADDR: "127.0.0.1:0",
        READINESS_ADDR: "127.0.0.1:0",
        ...env,
      },
    });
    const agent = new AgentProcess(child);
    if (child.pid === undefined) throw new Error(`cannot start ${BIN}`);
    joinCgroup(cgroup, child.pid);
    child.stdin?.end("go\n");
    await eventually(
      "the agent's start",
      () => {
        if (child.exitCode !== null) throw new Error(`the agent ended with ${child.exitCode}: ${agent.#stderr}`);
        agent.#started = agent.line("started");
        return agent.#started;
      },
      20_000,
    ).catch((error: unknown) => {
      child.kill("SIGKILL");
      throw new Error(`the agent did not start: ${agent.#stderr}`, { cause: error });
    });
    return agent;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** The first log line with this message. */
  line(message: string): LogLine | undefined {
    return this.lines.find((line) => line.message === message);
  }

  forgetLines(): void {
    this.lines = [];
  }

  /** Access log lines so far. */
  access(): LogLine[] {
    return this.lines.filter(({ scope }) => scope === "access");
  }

  async get(
    server: "admin" | "metrics" | "ready",
    path: string,
    method = "GET",
  ): Promise<{ status: number; text: string }> {
    const address = this.#started?.[server];
    const response = await fetch(`http://${address}${path}`, { method });
    return { status: response.status, text: await response.text() };
  }

  async ready(): Promise<void> {
    await eventually("readiness", async () => (await this.get("ready", "/healthz/ready")).status === 200, 20_000);
  }

  residentBytes(): number {
    const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.pid}/status`, "utf8"))?.[1];
    return Number(resident) * 1024;
  }

  /** Returns the exit code. */
  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<number | null> {
    const ended = this.ended();
    this.#child.kill(signal);
    return ended;
  }

  /** Resolves with the exit code when the process is gone; null when a signal ended it. */
  async ended(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "exit");
    return this.#child.exitCode;
  }

  #onOutput(text: string): void {
    const pieces = (this.#partial + text).split("\n");
    this.#partial = pieces.pop() ?? "";
    for (const piece of pieces) this.lines.push(JSON.parse(piece) as LogLine);
  }
}
