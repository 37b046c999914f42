/** Says on stderr what long work is at: one line that changes on a terminal, lines elsewhere. */

export interface Terminal {
  readonly isTTY: boolean;
  write(text: string): void;
}

/** Work that is done sooner says nothing on a terminal: it would only flicker. */
const QUIET_MS = 400;
const CLEAR_LINE = "\r\x1b[2K";

export class Progress {
  readonly #terminal: Terminal;
  #timer: NodeJS.Timeout | undefined;
  #text = "";
  #isShown = false;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** The work that goes on from here, such as `asking 12 agents`. */
  at(text: string): void {
    if (text === this.#text) return;
    this.#text = text;
    if (!this.#terminal.isTTY) this.#terminal.write(`${text}\n`);
    else if (this.#isShown) this.#show();
    else this.#timer ??= setTimeout(() => this.#show(), QUIET_MS);
  }

  /** Before anything else is printed, and at the end. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#isShown) this.#terminal.write(CLEAR_LINE);
    this.#isShown = false;
    this.#text = "";
  }

  #show(): void {
    this.#isShown = true;
    this.#terminal.write(`${CLEAR_LINE}${this.#text}…`);
  }
}
