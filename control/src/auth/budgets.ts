/** Token buckets by key: who has used up its own waits, and nobody else does. */
export interface BudgetOptions {
  readonly burst: number;
  readonly perSecond: number;
  /** Keys that are remembered; beyond, those that were used longest ago have a full bucket again. */
  readonly maxKeys: number;
  readonly now?: () => number;
}

interface Bucket {
  left: number;
  at: number;
}

export class Budgets {
  readonly #options: BudgetOptions;
  readonly #now: () => number;
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: BudgetOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Whether there is nothing left for this key. */
  exhausted(key: string): boolean {
    const bucket = this.#buckets.get(key);
    return bucket !== undefined && this.#left(bucket) < 1;
  }

  /** Takes one; false: there was none. */
  take(key: string): boolean {
    const known = this.#buckets.get(key);
    const left = known === undefined ? this.#options.burst : this.#left(known);
    this.#buckets.delete(key);
    this.#buckets.set(key, { left: Math.max(0, left - 1), at: this.#now() });
    if (this.#buckets.size > this.#options.maxKeys) {
      const [oldest] = this.#buckets.keys();
      if (oldest !== undefined) this.#buckets.delete(oldest);
    }
    return left >= 1;
  }

  #left({ left, at }: Bucket): number {
    const { burst, perSecond } = this.#options;
    return Math.min(burst, left + ((this.#now() - at) / 1000) * perSecond);
  }
}
