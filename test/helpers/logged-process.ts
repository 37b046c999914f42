/** A process of ours, as its operator sees it: its log, its HTTP servers, its end. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { eventually } from "#lib/eventually.ts";

/** A line of the JSON log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly scope: string; readonly message: string };

/** Any free port for each of the HTTP servers, and a log that can be read. */
export const PROCESS_ENV: Readonly<Record<string, string>> = {
  PATH: process.env.PATH ?? "",
  LOG_FORMAT: "json",
  ADMIN_ADDR: "127.0.0.1:0",
  STATS_ADDR: "127.0.0.1:0",
  READINESS_ADDR: "127.0.0.1:0",
};

export class LoggedProcess {
  /** Since the start, or since `forgetLines`. */
  lines: LogLine[] = [];
  /** What it wrote to its output that is no line of its log: access logs in text form. */
  readonly text: string[] = [];
  readonly #child: ChildProcess;
  #stderr = "";
  #partial = "";
  #started: LogLine | undefined;

  protected constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding("utf8");
    child.stdout?.on("data", (text: string) => this.#onOutput(text));
    child.stderr?.setEncoding("utf8");
    child.stderr?.on("data", (text: string) => {
      this.#stderr += text;
    });
  }

  /** Resolves when its HTTP servers are bound. */
  protected async started(): Promise<void> {
    const child = this.#child;
    const ended = once(child, "close").then(([code]) => {
      throw new Error(`the process ended with ${code}: ${this.#stderr}`);
    });
    ended.catch(() => undefined);
    const line = eventually("the start", () => this.line("started"), 60_000).catch((error: unknown) => {
      child.kill("SIGKILL");
      throw new Error(`the process did not start: ${this.#stderr}`, { cause: error });
    });
    this.#started = await Promise.race([line, ended]);
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
    return this.#memory("VmRSS");
  }

  /** The most that was resident at any time. */
  peakBytes(): number {
    return this.#memory("VmHWM");
  }

  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#child.kill(signal);
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

  #memory(field: "VmRSS" | "VmHWM"): number {
    const line = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(readFileSync(`/proc/${this.pid}/status`, "utf8"));
    return Number(line?.[1]) * 1024;
  }

  #onOutput(text: string): void {
    const pieces = (this.#partial + text).split("\n");
    this.#partial = pieces.pop() ?? "";
    for (const piece of pieces) {
      if (piece.startsWith("{") && piece.includes('"scope"')) this.lines.push(JSON.parse(piece) as LogLine);
      else this.text.push(piece);
    }
  }
}
