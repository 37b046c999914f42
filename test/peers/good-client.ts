/** The pinger in a pod, watched: it must work while others attack, and go on working afterwards. */
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { eventually } from "#lib/eventually.ts";
import { appPath } from "../helpers/mesh-bed.ts";
import type { BedPod, PodBed } from "../helpers/pod-bed.ts";

export class GoodClient {
  readonly failures: string[] = [];
  answers = 0;
  slowestMs = 0;
  readonly #child: ChildProcess;

  constructor(bed: PodBed, pod: BedPod, host: string, port: number) {
    this.#child = bed.spawn(pod, process.execPath, [appPath("pinger"), host, String(port)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    if (this.#child.stdout === null) throw new Error("the pinger has no output");
    createInterface(this.#child.stdout).on("line", (line) => {
      const [word, rest] = line.split(" ", 2);
      if (word !== "ok") {
        this.failures.push(line);
        return;
      }
      this.answers++;
      this.slowestMs = Math.max(this.slowestMs, Number(rest));
    });
  }

  /** Waits for answers to connections that were opened from now on. */
  async answersMore(count = 3): Promise<void> {
    // The one that is under way may have been opened before.
    const wanted = this.answers + count + 1;
    await eventually(`${count} more answers for the good client`, () => this.answers >= wanted, 15_000);
  }

  stop(): void {
    this.#child.kill("SIGKILL");
  }
}
