/** The way from decisions to the engine: batches of a bounded size, and an answer to a command that it refuses. */
import { errorText, type Logger } from "#lib/log.ts";
import type { Command, Engine } from "./native.ts";

/** Commands of one atomic batch. A larger change is told in parts, so that no loop waits long for one. */
const MAX_BATCH = 1024;

export class EnginePort {
  readonly #engine: Engine;
  readonly #log: Logger;

  constructor(engine: Engine, log: Logger) {
    this.#engine = engine;
    this.#log = log;
  }

  /** In order. One bad command is logged and left out; it must not take the others with it. */
  readonly push = (commands: readonly Command[]): void => {
    for (let start = 0; start < commands.length; start += MAX_BATCH) {
      const batch = commands.length <= MAX_BATCH ? commands : commands.slice(start, start + MAX_BATCH);
      try {
        this.#engine.apply(batch);
      } catch {
        for (const command of batch) this.#pushOne(command);
      }
    }
  };

  #pushOne(command: Command): void {
    try {
      this.#engine.apply([command]);
    } catch (error) {
      // Keys and certificates stay out of the log.
      const { op } = command;
      const name = "name" in command ? command.name : "identity" in command ? command.identity : undefined;
      this.#log.error("engine refused a command", { op, name, error: errorText(error) });
    }
  }
}
