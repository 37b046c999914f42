/** Keeps one copy of equal values, which thousands of records share. */

/** Beyond this the table starts anew: sharing is lost for a while, nothing else. */
const MAX_ENTRIES = 1 << 16;

export class Interner {
  readonly #strings = new Map<string, string>();
  readonly #values = new Map<string, unknown>();

  string(text: string): string {
    const known = this.#strings.get(text);
    if (known !== undefined) return known;
    if (this.#strings.size >= MAX_ENTRIES) this.#strings.clear();
    this.#strings.set(text, text);
    return text;
  }

  /** The value for `key`, made at first use. Equal keys must mean equal values of one type. */
  value<T>(key: string, make: () => T): T {
    const known = this.#values.get(key);
    if (known !== undefined) return known as T;
    if (this.#values.size >= MAX_ENTRIES) this.#values.clear();
    const made = make();
    this.#values.set(key, made);
    return made;
  }
}
