/** How commands fail: with one line that says what, and what to do about it. */

/** What `weft` ends with; documented in docs/reference/cli.md. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  /** The cluster cannot be reached, or does not let us. */
  access: 3,
  interrupted: 130,
} as const;

export const EXIT_MEANINGS: readonly (readonly [number, string])[] = [
  [EXIT.done, "done"],
  [EXIT.failed, "failed; one line on stderr says what, and what to do"],
  [EXIT.usage, "wrong usage: no such command, flag or value"],
  [EXIT.access, "no access to the cluster: not named, not reached, or not allowed"],
  [EXIT.interrupted, "ended by Ctrl-C"],
];

/** The command line asks for something that does not exist; the message says what and where to look. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Something that the user can act on. */
export class Failure extends Error {
  override readonly name = "Failure";
  readonly exitCode: number;

  /** `what` has failed; `todo` is what to do about it. */
  constructor(what: string, todo?: string, options: { readonly exitCode?: number; readonly cause?: unknown } = {}) {
    super(todo === undefined ? what : `${what}; ${todo}`, options.cause === undefined ? {} : { cause: options.cause });
    this.exitCode = options.exitCode ?? EXIT.failed;
  }
}
