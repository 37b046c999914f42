/** The way from decisions to what BPF decides by. What the maps do not take stays with the agent: counted, and said. */
import { errorText, type Logger } from "#lib/log.ts";
import type { BpfPlane, DirectCommand } from "../native.ts";

/** A full map refuses thousands of commands with the same words. */
const REPEAT_MS = 60_000;
const MAX_KINDS = 32;

export class DirectPort {
  readonly #plane: Pick<BpfPlane, "direct">;
  readonly #log: Logger;
  readonly #now: () => number;
  /** Failures by kind that were not said yet, and when one was last. */
  readonly #kinds = new Map<string, { saidAt: number; unsaid: number }>();
  #queue: DirectCommand[] = [];
  #failures = 0;

  constructor(plane: Pick<BpfPlane, "direct">, log: Logger, now: () => number = () => performance.now()) {
    this.#plane = plane;
    this.#log = log;
    this.#now = now;
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
    for (const text of failures) this.#tell(text);
  }

  #tell(text: string): void {
    const kind = kindOf(text);
    const now = this.#now();
    const known = this.#kinds.get(kind);
    if (known !== undefined && now - known.saidAt < REPEAT_MS) {
      known.unsaid++;
      return;
    }
    this.#log.warn("bpf did not take a decision; the agent decides instead", {
      error: text,
      more_like_it: known?.unsaid ?? 0,
    });
    if (known === undefined && this.#kinds.size >= MAX_KINDS) this.#kinds.clear();
    this.#kinds.set(kind, { saidAt: now, unsaid: 0 });
  }
}

/** The text without what it is about: cookies, addresses, ports. */
function kindOf(text: string): string {
  return text.replaceAll(/\[?[\da-f.:]*\d[\da-f.:]*\]?/gi, "#");
}
