const KINDS = [
  "pods",
  "services",
  "workloadEntries",
  "serviceEntries",
  "slices",
  "policies",
  "peerNamespaces",
  "gateways",
] as const;
type Kind = (typeof KINDS)[number];

/** What has to be derived again, by kind and key. */
export class DirtySets {
  /** Everything there is must be derived again, beside what is marked (which may be there no more). */
  everything = true;
  /** Before the first flush nothing has been derived that could be out of date. */
  #recording = false;
  readonly pods = new Set<string>();
  readonly services = new Set<string>();
  readonly workloadEntries = new Set<string>();
  readonly serviceEntries = new Set<string>();
  readonly slices = new Set<string>();
  readonly policies = new Set<string>();
  readonly peerNamespaces = new Set<string>();
  readonly gateways = new Set<string>();
  readonly #onDirty: () => void;

  constructor(onDirty: () => void) {
    this.#onDirty = onDirty;
  }

  mark(kind: Kind, key: string): void {
    if (this.#recording) this[kind].add(key);
    this.#onDirty();
  }

  /** The same for many at once: of 100,000 pods, a call for each would be felt. */
  markAll(kind: Kind, keys: Iterable<string>): void {
    if (this.#recording) for (const key of keys) this[kind].add(key);
    this.#onDirty();
  }

  markEverything(): void {
    this.everything = true;
    this.#onDirty();
  }

  /** From now on what is marked is all that is due. */
  record(): void {
    this.#recording = true;
    this.everything = false;
  }
}
