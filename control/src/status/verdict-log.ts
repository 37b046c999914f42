import type { Logger } from "pino";
import type { Verdict } from "../model/accepted.ts";
import { describeProblems } from "../model/fields.ts";
import { keyOf, type Meta, metaOf } from "../model/meta.ts";

/** Logs what is wrong with an object, naming object, field and reason: once, not at each change of its status. */
export class VerdictLog {
  readonly #log: Logger;
  readonly #told = new Map<string, string>();

  constructor(log: Logger) {
    this.#log = log;
  }

  note<F extends Meta>(kind: string, { object, problems, keptLastGood }: Verdict<F>): void {
    const name = keyOf(metaOf(object));
    const key = `${kind}/${name}`;
    if (problems.length === 0) {
      this.#told.delete(key);
      return;
    }
    const text = describeProblems(problems);
    if (this.#told.get(key) === text) return;
    this.#told.set(key, text);
    const inForce = keptLastGood ? "last valid version" : "what is understood";
    this.#log.warn({ kind, object: name, problems: text, inForce }, "invalid object");
  }
}
