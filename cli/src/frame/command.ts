/** What a command is: a value that says everything that parsing, help, completion and the reference need. */
import type { Context } from "./context.ts";
import type { Flags, FlagValues, Format } from "./flags.ts";

export interface Argument {
  readonly name: string;
  readonly about: string;
  readonly optional?: boolean;
  /** Takes all that follows; only the last one may. */
  readonly variadic?: boolean;
}

export interface Input<F extends Flags> {
  readonly args: readonly string[];
  readonly flags: FlagValues<F>;
}

/** What parsing gives: the same without the types of the flags. */
export interface ParsedInput {
  readonly args: readonly string[];
  readonly flags: Readonly<Record<string, string | boolean | readonly string[] | undefined>>;
}

export type Example = readonly [commandLine: string, about: string];

interface Named {
  readonly name: string;
  readonly aliases?: readonly string[];
  /** One line, without a full stop. */
  readonly summary: string;
  /** Paragraphs below the usage. */
  readonly description?: string;
  readonly examples?: readonly Example[];
}

export interface CommandSpec<F extends Flags> extends Named {
  readonly args?: readonly Argument[];
  readonly flags?: F;
  /** Whether it has the flags that name a cluster. */
  readonly cluster?: boolean;
  /** What `-o` takes; the first is the default. Absent: there is no `-o`. */
  readonly output?: readonly Format[];
  /** Exit codes of its own, beside those of all commands. */
  readonly exitCodes?: readonly (readonly [number, string])[];
  /** The exit code; nothing means 0. Throws Failure, UsageError, or what kube access throws. */
  readonly run: (context: Context, input: Input<F>) => Promise<number | undefined> | number | undefined;
}

export interface Command extends Omit<CommandSpec<Flags>, "run"> {
  readonly kind: "command";
  readonly flags: Flags;
  readonly args: readonly Argument[];
  readonly run: (context: Context, input: ParsedInput) => Promise<number | undefined> | number | undefined;
}

export interface Group extends Named {
  readonly kind: "group";
  readonly commands: readonly (Command | Group)[];
}

/** Declares a command; what `run` gets has the types of `flags`. */
export function command<const F extends Flags = Record<never, never>>(spec: CommandSpec<F>): Command {
  const { run, flags, args = [], ...rest } = spec;
  // What is parsed by these flags has their types: the parser is driven by the same table.
  const erased = run as unknown as Command["run"];
  return { ...rest, kind: "command", flags: flags ?? {}, args, run: erased };
}

export function group(spec: Omit<Group, "kind">): Group {
  return { ...spec, kind: "group" };
}

export function findCommand(parent: Group, word: string): Command | Group | undefined {
  return parent.commands.find((each) => each.name === word || each.aliases?.includes(word) === true);
}

/** Every command below a group, with the words that lead to it. */
export function* walk(
  parent: Group,
  path: readonly string[] = [],
): Generator<readonly [readonly string[], Command | Group]> {
  for (const each of parent.commands) {
    const words = [...path, each.name];
    yield [words, each];
    if (each.kind === "group") yield* walk(each, words);
  }
}
