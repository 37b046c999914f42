const NONE: ReadonlySet<string> = new Set();

/** Sets of names, each belonging to an owner. */
export class OwnedNames {
  readonly #names = new Map<string, Set<string>>();

  of(owner: string): ReadonlySet<string> {
    return this.#names.get(owner) ?? NONE;
  }

  add(owner: string, name: string): void {
    const names = this.#names.get(owner);
    if (names === undefined) this.#names.set(owner, new Set([name]));
    else names.add(name);
  }

  remove(owner: string, name: string): void {
    const names = this.#names.get(owner);
    names?.delete(name);
    if (names?.size === 0) this.#names.delete(owner);
  }

  /** Gives the owner exactly `names`; returns those that it lost. */
  replace(owner: string, names: ReadonlySet<string>): string[] {
    const lost = [...this.of(owner)].filter((name) => !names.has(name));
    if (names.size === 0) this.#names.delete(owner);
    else this.#names.set(owner, new Set(names));
    return lost;
  }
}
