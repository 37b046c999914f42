import { compareText, type Labels } from "./meta.ts";

/** True when `labels` has every pair of `selector`. */
export function selects(selector: Labels, labels: Labels): boolean {
  for (const key in selector) if (labels[key] !== selector[key]) return false;
  return true;
}

interface Entry<T> {
  readonly selector: Labels;
  readonly value: T;
}

/**
 * Finds the selectors that match a set of labels without trying them all: each is filed under one of its pairs, and
 * only those filed under a pair that the labels have are looked at.
 */
export class SelectorIndex<T> {
  readonly #byPair = new Map<string, Entry<T>[]>();

  /** An empty selector is not filed: nothing here means "everything". */
  add(selector: Labels, value: T): void {
    const pair = filingPair(selector);
    if (pair === undefined) return;
    const entries = this.#byPair.get(pair);
    if (entries === undefined) this.#byPair.set(pair, [{ selector, value }]);
    else entries.push({ selector, value });
  }

  remove(selector: Labels, value: T): void {
    const pair = filingPair(selector);
    if (pair === undefined) return;
    const rest = this.#byPair.get(pair)?.filter((entry) => entry.value !== value) ?? [];
    if (rest.length === 0) this.#byPair.delete(pair);
    else this.#byPair.set(pair, rest);
  }

  match(labels: Labels): T[] {
    const found: T[] = [];
    if (this.#byPair.size === 0) return found;
    for (const key in labels) {
      for (const entry of this.#byPair.get(pairText(key, labels[key] ?? "")) ?? []) {
        if (selects(entry.selector, labels)) found.push(entry.value);
      }
    }
    return found;
  }
}

function filingPair(selector: Labels): string | undefined {
  const [key] = Object.keys(selector).sort(compareText);
  return key === undefined ? undefined : pairText(key, selector[key] ?? "");
}

function pairText(key: string, value: string): string {
  return `${key}=${value}`;
}
