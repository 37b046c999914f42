import { OwnedNames } from "../model/owned-names.ts";

/** Who uses what: a thing is there as long as somebody uses it. */
export class References {
  readonly #used = new OwnedNames();
  readonly #users = new OwnedNames();

  /** These are all that `user` uses. Returns what has come into use by it, and what nobody uses any more. */
  set(user: string, names: ReadonlySet<string>): { readonly added: string[]; readonly unused: string[] } {
    const added = [...names].filter((name) => this.#users.of(name).size === 0);
    const unused: string[] = [];
    for (const name of this.#used.replace(user, names)) {
      this.#users.remove(name, user);
      if (this.#users.of(name).size === 0) unused.push(name);
    }
    for (const name of names) this.#users.add(name, user);
    return { added, unused };
  }

  usersOf(name: string): ReadonlySet<string> {
    return this.#users.of(name);
  }
}
