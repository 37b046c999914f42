/** From the words of a command line to a command and its input. */
import { parseArgs } from "node:util";
import { type Command, findCommand, type Group, type ParsedInput } from "./command.ts";
import { UsageError } from "./errors.ts";
import { CLUSTER_FLAGS, COMMON_FLAGS, type Flag, type Flags, outputFlag } from "./flags.ts";
import { nearest } from "./nearest.ts";

export interface Parsed {
  readonly command: Command | Group;
  /** The words that lead to it, without `weft`. */
  readonly path: readonly string[];
  readonly input: ParsedInput;
}

/** All flags of a command, by name. */
export function flagsOf(command: Command | Group): Flags {
  if (command.kind === "group") return COMMON_FLAGS;
  return {
    ...command.flags,
    ...(command.output === undefined ? {} : outputFlag(command.output)),
    ...(command.cluster === true ? CLUSTER_FLAGS : {}),
    ...COMMON_FLAGS,
  };
}

/** Flags may stand before, between and after the words that name the command. Throws UsageError. */
export function parseCommandLine(root: Group, words: readonly string[]): Parsed {
  const { command, path, rest } = route(root, words);
  const flags = flagsOf(command);
  const { values, positionals } = read(flags, withoutAliases(flags, rest), path);
  const parsed = { command, path, input: { args: positionals, flags: complete(flags, values, path) } };
  if (parsed.input.flags.help === true) return parsed;
  if (command.kind === "group") {
    const [word] = positionals;
    if (word !== undefined) throw unknownCommand(command, path, word);
    return parsed;
  }
  checkArguments(command, path, positionals);
  return parsed;
}

/** Follows the words that are no flags down the tree. */
function route(root: Group, words: readonly string[]): { command: Command | Group; path: string[]; rest: string[] } {
  let command: Command | Group = root;
  const path: string[] = [];
  const rest: string[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? "";
    if (word === "--" || command.kind === "command") {
      rest.push(...words.slice(i));
      break;
    }
    if (word.startsWith("-")) {
      rest.push(word);
      // A flag that stands before its command: only those of all commands can be known yet.
      if (takesNextWord(word)) rest.push(...words.slice(++i, i + 1));
      continue;
    }
    const found: Command | Group | undefined = findCommand(command, word);
    if (found === undefined) {
      if (rest.includes("--help") || rest.includes("-h")) break;
      throw unknownCommand(command, path, word);
    }
    command = found;
    path.push(found.name);
  }
  return { command, path, rest };
}

function takesNextWord(word: string): boolean {
  const flags: Flags = { ...CLUSTER_FLAGS, output: { type: "string", short: "o", about: "" } };
  if (word.includes("=")) return false;
  return Object.entries(flags).some(
    ([name, flag]) =>
      flag.type === "string" &&
      (word === `--${name}` || word === `-${flag.short}` || (flag.alias !== undefined && word === `--${flag.alias}`)),
  );
}

/** Other spellings of flags become their names. */
function withoutAliases(flags: Flags, words: readonly string[]): string[] {
  const names = new Map<string, string>();
  for (const [name, { alias }] of Object.entries(flags)) if (alias !== undefined) names.set(alias, name);
  return words.map((word) => {
    const [, spelled = "", tail = ""] = /^--([^=]+)(.*)$/s.exec(word) ?? [];
    const name = names.get(spelled);
    return name === undefined ? word : `--${name}${tail}`;
  });
}

type Values = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;

function read(flags: Flags, words: string[], path: readonly string[]): { values: Values; positionals: string[] } {
  const options = Object.fromEntries(
    Object.entries(flags).map(([name, { type, short, multiple }]) => [
      name,
      { type, ...(short === undefined ? {} : { short }), ...(multiple === true ? { multiple } : {}) },
    ]),
  );
  try {
    return parseArgs({ args: words, options, allowPositionals: true, strict: true });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const unknown = /^Unknown option '(-[^']+)'/.exec(message)?.[1];
    if (unknown === undefined) throw new UsageError(`${message.split(". ")[0]}; ${seeHelp(path)}`);
    const near = nearest(
      unknown,
      Object.keys(flags).map((name) => `--${name}`),
    );
    const guess = near === undefined ? "" : `; did you mean ${near}?`;
    throw new UsageError(`${commandText(path)} has no flag ${unknown}${guess || `; ${seeHelp(path)}`}`);
  }
}

/** Absent flags get their empty value, and values outside their choices are refused. */
function complete(flags: Flags, values: Values, path: readonly string[]): ParsedInput["flags"] {
  const complete: Record<string, ParsedInput["flags"][string]> = {};
  for (const [name, flag] of Object.entries(flags)) {
    const value = values[name];
    checkChoice(name, flag, value, path);
    complete[name] = Array.isArray(value) ? value.map(String) : (value ?? emptyValue(flag));
  }
  return complete;
}

function emptyValue({ type, multiple }: Flag): boolean | readonly string[] | undefined {
  if (type === "boolean") return false;
  return multiple === true ? [] : undefined;
}

function checkChoice(name: string, { choices }: Flag, value: unknown, path: readonly string[]): void {
  if (choices === undefined || value === undefined) return;
  for (const each of Array.isArray(value) ? value : [value]) {
    if (choices.includes(String(each))) continue;
    throw new UsageError(`${commandText(path)} --${name} takes one of ${choices.join(", ")}, not "${each}"`);
  }
}

function checkArguments(command: Command, path: readonly string[], given: readonly string[]): void {
  const missing = command.args.filter((each) => each.optional !== true)[given.length];
  if (missing !== undefined) {
    throw new UsageError(`${commandText(path)} needs ${missing.name}: ${missing.about}; ${seeHelp(path)}`);
  }
  const isOpen = command.args.at(-1)?.variadic === true;
  const extra = given[command.args.length];
  if (!isOpen && extra !== undefined) {
    throw new UsageError(`${commandText(path)} does not know what to do with "${extra}"; ${seeHelp(path)}`);
  }
}

function unknownCommand(parent: Group, path: readonly string[], word: string): UsageError {
  const near = nearest(
    word,
    parent.commands.flatMap((each) => [each.name, ...(each.aliases ?? [])]),
  );
  const guess = near === undefined ? seeHelp(path) : `did you mean ${near}?`;
  return new UsageError(`there is no command "${[...path, word].join(" ")}"; ${guess}`);
}

function seeHelp(path: readonly string[]): string {
  return `see ${commandText(path)} --help`;
}

export function commandText(path: readonly string[]): string {
  return ["weft", ...path].join(" ");
}
