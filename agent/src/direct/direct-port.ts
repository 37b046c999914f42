/** The way from decisions to what BPF decides by. What the maps do not take stays with the agent: counted, and said. */
import { errorText } from "#lib/log.ts";
import type { BpfPlane, DirectCommand } from "../native.ts";
import type { RareLog } from "./rare-log.ts";

export class DirectPort {
  readonly #plane: Pick<BpfPlane, "direct">;
  readonly #log: RareLog;
  #queue: DirectCommand[] = [];
  #failures = 0;

  constructor(plane: Pick<BpfPlane, "direct">, log: RareLog) {
    this.#plane = plane;
    this.#log = log;
  }

  /** Commands that the maps did not take since the start. */
  get failures(): number {
    return this.#failures;
  }

  /** In order, with the next `flush`. */
  get queue(): DirectCommand[] {
    return this.#queue;
  }

  flush(): void {
    if (this.#queue.length === 0) return;
    const commands = this.#queue;
    this.#queue = [];
    let failures: readonly string[];
    try {
      failures = this.#plane.direct(commands);
    } catch (error) {
      failures = [errorText(error)];
    }
    this.#failures += failures.length;
    for (const text of failures) this.#log.warn("bpf did not take a decision; the agent decides instead", text);
  }
}
