/** Whether the process may receive traffic: a set of named tasks that must be done first. */
export class Readiness {
  readonly #pending = new Set<string>();
  readonly #waiters: (() => void)[] = [];

  /** Adds a task that readiness waits for. The returned function, called once or more, says that it is done. */
  task(name: string): () => void {
    this.#pending.add(name);
    return () => {
      this.#pending.delete(name);
      if (this.#pending.size === 0) for (const resolve of this.#waiters.splice(0)) resolve();
    };
  }

  get ready(): boolean {
    return this.#pending.size === 0;
  }

  /** Names of the tasks that are still to be done, in the order in which they were added. */
  pending(): readonly string[] {
    return [...this.#pending];
  }

  /** Resolves when nothing is pending. */
  whenReady(): Promise<void> {
    if (this.ready) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
    });
  }
}
