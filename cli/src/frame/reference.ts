/** docs/reference/cli.md, made from the command tree. */
import { type Command, type Group, walk } from "./command.ts";
import { EXIT_MEANINGS } from "./errors.ts";
import { CLUSTER_FLAGS, COMMON_FLAGS, type Flags, outputFlag } from "./flags.ts";
import { flagRows, usageLine } from "./help.ts";
import { commandText } from "./parse.ts";

export function referencePage(root: Group): string {
  const all = [...walk(root)];
  const sections = [
    "# The `weft` command",
    "Made from the sources by `node scripts/gen-cli-reference.ts`; a test compares it. `weft COMMAND --help` says the same.",
    "## Commands",
    table(["command", "what it does"], all.filter(([, each]) => each.kind === "command").map(overviewRow)),
    "## Flags of all commands",
    flagTable(COMMON_FLAGS),
    "Commands that look at a cluster also have:",
    flagTable(CLUSTER_FLAGS),
    "## Exit codes",
    table(
      ["code", "meaning"],
      EXIT_MEANINGS.map(([code, meaning]) => [String(code), meaning]),
    ),
    ...all.flatMap(([path, each]) => (each.kind === "command" ? commandSection(path, each) : [])),
  ];
  return `${sections.join("\n\n")}\n`;
}

function overviewRow([path, { summary }]: readonly [readonly string[], Command | Group]): string[] {
  return [`[\`${commandText(path)}\`](#${anchor(path)})`, summary];
}

/** As GitHub makes it from the heading. */
function anchor(path: readonly string[]): string {
  return commandText(path).replaceAll(" ", "-");
}

function commandSection(path: readonly string[], command: Command): string[] {
  const { aliases = [], description, args, flags, output, exitCodes = [], examples = [] } = command;
  const own = { ...flags, ...(output === undefined ? {} : outputFlag(output)) };
  return [
    `## ${commandText(path)}`,
    `${sentence(command.summary)}${aliases.length === 0 ? "" : ` Also: ${aliases.map(code).join(", ")}.`}`,
    `\`\`\`\n${usageLine(command, path)}\n\`\`\``,
    ...(description === undefined ? [] : [description.trim()]),
    ...(args.length === 0
      ? []
      : [
          table(
            ["argument", "what it is"],
            args.map(({ name, about }) => [code(name), about]),
          ),
        ]),
    ...(Object.keys(own).length === 0 ? [] : [flagTable(own)]),
    ...(exitCodes.length === 0
      ? []
      : [
          table(
            ["exit code", "meaning"],
            exitCodes.map(([n, about]) => [String(n), about]),
          ),
        ]),
    ...(examples.length === 0
      ? []
      : [`\`\`\`sh\n${examples.map(([line, about]) => `# ${about}\n${line}`).join("\n")}\n\`\`\``]),
  ];
}

function flagTable(flags: Flags): string {
  return table(
    ["flag", "what it does"],
    flagRows(flags).map(([written, about]) => [code(written.trim()), about]),
  );
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), `|${head.map(() => "---").join("|")}|`, ...rows.map(line)].join("\n");
}

function sentence(summary: string): string {
  return `${summary.slice(0, 1).toUpperCase()}${summary.slice(1)}.`;
}

function code(text: string): string {
  return `\`${text}\``;
}
