/** Lines of access logs on their way to a file or to standard output: collected, written without waiting, bounded. */
import pino from "pino";

/** Whoever follows the log sees lines within this. */
const FLUSH_MS = 200;
const BUFFER_BYTES = 64 * 1024;
const MAX_WRITE_BYTES = 256 * 1024;
/** Held while whoever reads the log does not. More is thrown away and counted: traffic never waits for a log. */
const MAX_HELD_BYTES = 16 * 1024 * 1024;
const STDOUT = "/dev/stdout";
const STDERR = "/dev/stderr";

export class LineWriter {
  readonly #destination: ReturnType<typeof pino.destination>;
  #dropped = 0;

  /** `onError` is told what keeps lines from being written. */
  constructor(path: string, onError: (error: Error) => void) {
    this.#destination = pino.destination({
      dest: path === STDOUT ? 1 : path === STDERR ? 2 : path,
      sync: false,
      append: true,
      mkdir: true,
      minLength: BUFFER_BYTES,
      maxWrite: MAX_WRITE_BYTES,
      maxLength: MAX_HELD_BYTES,
      periodicFlush: FLUSH_MS,
    });
    this.#destination.on("drop", () => {
      this.#dropped++;
    });
    this.#destination.on("error", onError);
  }

  /** Lines that were thrown away. */
  get dropped(): number {
    return this.#dropped;
  }

  /** With its newline. */
  write(line: string): void {
    this.#destination.write(line);
  }

  /** Resolves when all of it is written. */
  flush(): Promise<void> {
    return new Promise((resolve) => {
      // An error has been told of; nothing more can be done for these lines.
      this.#destination.flush(() => resolve());
    });
  }
}
