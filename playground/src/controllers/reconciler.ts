/** A queue of keys, each worked off alone and not before the current turn of the event loop has ended. */

/** After a failure: first and longest wait. */
const RETRY_MS = [100, 10_000] as const;

export class Reconciler {
  readonly #name: string;
  readonly #reconcile: (key: string) => void;
  readonly #report: (message: string) => void;
  readonly #queue = new Set<string>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #failures = new Map<string, number>();
  #scheduled: NodeJS.Immediate | undefined;
  #isClosed = false;

  /** `report` is told of failures; the key is tried again. */
  constructor(name: string, reconcile: (key: string) => void, report: (message: string) => void) {
    this.#name = name;
    this.#reconcile = reconcile;
    this.#report = report;
  }

  enqueue(key: string): void {
    if (this.#isClosed) return;
    this.#queue.add(key);
    this.#scheduled ??= setImmediate(() => this.#work());
  }

  /** Once more after `ms`; an earlier request for a later time is replaced. */
  enqueueAfter(key: string, ms: number): void {
    if (this.#isClosed) return;
    clearTimeout(this.#timers.get(key));
    const timer = setTimeout(() => {
      this.#timers.delete(key);
      this.enqueue(key);
    }, ms);
    this.#timers.set(key, timer);
  }

  close(): void {
    this.#isClosed = true;
    clearImmediate(this.#scheduled);
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  #work(): void {
    this.#scheduled = undefined;
    const keys = [...this.#queue];
    this.#queue.clear();
    for (const key of keys) {
      try {
        this.#reconcile(key);
        this.#failures.delete(key);
      } catch (error) {
        const failures = (this.#failures.get(key) ?? 0) + 1;
        this.#failures.set(key, failures);
        const [first, longest] = RETRY_MS;
        this.enqueueAfter(key, Math.min(longest, first * 2 ** (failures - 1)));
        const message = error instanceof Error ? error.message : String(error);
        if (failures === 3) this.#report(`${this.#name} of ${key} fails: ${message}`);
      }
    }
  }
}
