/** `--help` of commands and groups, made from what they declare. */
import type { Argument, Command, Example, Group } from "./command.ts";
import { CLUSTER_FLAGS, COMMON_FLAGS, type Flags, outputFlag } from "./flags.ts";
import { commandText } from "./parse.ts";
import { wrap } from "./wrap.ts";

const WIDTH = 100;

export function helpText(command: Command | Group, path: readonly string[]): string {
  const title = `${commandText(path)}: ${command.summary}`;
  const sections = [
    title,
    `Usage:\n  ${usageLine(command, path)}`,
    command.description === undefined ? "" : wrap(command.description, WIDTH),
    ...(command.kind === "group" ? groupSections(command) : commandSections(command)),
    examples(command.examples ?? []),
    command.kind === "group" ? `${commandText(path)} COMMAND --help tells more.` : "",
  ];
  return `${sections.filter((section) => section !== "").join("\n\n")}\n`;
}

export function usageLine(command: Command | Group, path: readonly string[]): string {
  if (command.kind === "group") return `${commandText(path)} COMMAND`;
  return [commandText(path), ...command.args.map(argumentText), "[flags]"].join(" ");
}

export function argumentText({ name, optional, variadic }: Argument): string {
  const text = variadic === true ? `${name}...` : name;
  return optional === true ? `[${text}]` : text;
}

/** Rows of help: how a flag is written, and what it does. */
export function flagRows(flags: Flags): (readonly [string, string])[] {
  return Object.entries(flags).map(([name, { type, short, value, about, choices, alias, multiple }]) => {
    const long = type === "boolean" ? `--${name}` : `--${name} ${value ?? "VALUE"}`;
    const written = short === undefined ? `    ${long}` : `-${short}, ${long}`;
    const listed = choices === undefined || about.includes("one of") ? "" : ` (${choices.join(", ")})`;
    const repeated = multiple === true ? "; may be repeated" : "";
    return [written, `${about}${listed}${repeated}${alias === undefined ? "" : `; also --${alias}`}`];
  });
}

function groupSections({ commands }: Group): string[] {
  return [
    section(
      "Commands",
      commands.map((each) => [[each.name, ...(each.aliases ?? [])].join(", "), each.summary]),
    ),
    section("Flags", flagRows(COMMON_FLAGS)),
  ];
}

function commandSections({ args, flags, output, cluster, exitCodes = [], aliases = [] }: Command): string[] {
  return [
    aliases.length === 0 ? "" : `Aliases: ${aliases.join(", ")}`,
    section(
      "Arguments",
      args.map((each) => [each.name, each.about]),
    ),
    section("Flags", [
      ...flagRows({ ...flags, ...(output === undefined ? {} : outputFlag(output)) }),
      ...flagRows(COMMON_FLAGS),
    ]),
    cluster === true ? section("Which cluster", flagRows(CLUSTER_FLAGS)) : "",
    section(
      "Exit codes of its own",
      exitCodes.map(([code, about]) => [String(code), about]),
    ),
  ];
}

function section(title: string, rows: readonly (readonly [string, string])[]): string {
  if (rows.length === 0) return "";
  const width = Math.max(...rows.map(([left]) => left.length));
  const lines = rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`.trimEnd());
  return [`${title}:`, ...lines].join("\n");
}

function examples(list: readonly Example[]): string {
  if (list.length === 0) return "";
  return `Examples:\n${list.map(([line, about]) => `  # ${about}\n  ${line}`).join("\n\n")}`;
}
