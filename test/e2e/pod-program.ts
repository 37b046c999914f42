/** A program of `programs/` that runs in a pod and prints lines of JSON. */
import type { ChildProcess } from "node:child_process";
import { eventually } from "#lib/eventually.ts";

/** How to start it: the pinned Node, the program, its arguments. */
export function programArgv(program: string, ...args: readonly string[]): [string, string, ...string[]] {
  return [process.execPath, new URL(`programs/${program}.ts`, import.meta.url).pathname, ...args];
}

export class PodProgram<Line> {
  readonly lines: Line[] = [];
  readonly #child: ChildProcess;
  #partial = "";
  #stderr = "";

  constructor(child: ChildProcess) {
    this.#child = child;
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      const pieces = (this.#partial + text).split("\n");
      this.#partial = pieces.pop() ?? "";
      for (const piece of pieces) this.lines.push(JSON.parse(piece) as Line);
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr += text;
    });
  }

  /** The first line that fits, as soon as there is one. */
  when(what: string, fits: (line: Line) => boolean, withinMs = 20_000): Promise<Line> {
    return eventually(
      what,
      () => {
        const found = this.lines.find(fits);
        if (found === undefined && this.#stderr !== "") throw new Error(this.#stderr);
        return found;
      },
      withinMs,
    );
  }

  async stop(): Promise<readonly Line[]> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = new Promise((resolve) => this.#child.once("close", resolve));
      this.#child.kill("SIGKILL");
      await ended;
    }
    return this.lines;
  }
}

/** CLOCK_MONOTONIC in ms, as the programs tell it. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
