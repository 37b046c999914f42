/** A set whose members stay a while after they have left, for those who have not heard of it yet. */
export class Lingering {
  readonly #ms: number;
  readonly #now: () => number;
  #present: ReadonlySet<string> = new Set();
  /** When each that has left is to go. */
  readonly #leaving = new Map<string, number>();

  constructor(ms: number, now: () => number = () => performance.now()) {
    this.#ms = ms;
    this.#now = now;
  }

  /** Somebody is still to go: `members` will give fewer later. */
  get waits(): boolean {
    return this.#leaving.size > 0;
  }

  /** These are the members now. */
  set(names: Iterable<string>): void {
    const next = new Set(names);
    for (const name of this.#present) if (!next.has(name)) this.#leaving.set(name, this.#now() + this.#ms);
    for (const name of next) this.#leaving.delete(name);
    this.#present = next;
  }

  /** The members, and those who have left not long ago. */
  members(): ReadonlySet<string> {
    for (const [name, until] of this.#leaving) if (until <= this.#now()) this.#leaving.delete(name);
    return new Set([...this.#present, ...this.#leaving.keys()]);
  }
}
