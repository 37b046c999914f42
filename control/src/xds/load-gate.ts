/**
 * Lets a few clients at a time load everything. After a restart all agents come at once, and a response in flight costs
 * its size twice: 500 agents with 4 MB each would be 4 GB.
 */
export class LoadGate {
  readonly #maxMs: number;
  #free: number;
  readonly #waiting = new Set<() => void>();

  /** A client that does not read keeps its place for `maxMs` only; what it costs then is bounded by its own stream. */
  constructor(places: number, maxMs: number) {
    this.#free = places;
    this.#maxMs = maxMs;
  }

  /** Calls `enter` when there is a place, perhaps at once. The returned function gives the place, or the wait, up. */
  request(enter: () => void): () => void {
    let timer: NodeJS.Timeout | undefined;
    let left = false;
    const leave = () => {
      if (left) return;
      left = true;
      clearTimeout(timer);
      if (this.#waiting.delete(begin)) return;
      this.#free++;
      this.#next();
    };
    const begin = () => {
      this.#waiting.delete(begin);
      this.#free--;
      timer = setTimeout(leave, this.#maxMs);
      enter();
    };
    this.#waiting.add(begin);
    this.#next();
    return leave;
  }

  #next(): void {
    if (this.#free <= 0) return;
    const [first] = this.#waiting;
    first?.();
  }
}
