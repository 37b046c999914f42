import { describe, expect, it } from "vitest";
import { type Command, walk } from "../frame/command.ts";
import { CLUSTER_FLAGS, COMMON_FLAGS } from "../frame/flags.ts";
import { helpText } from "../frame/help.ts";
import { parseCommandLine } from "../frame/parse.ts";
import { COMMANDS } from "./index.ts";

const all = [...walk(COMMANDS)];
const commands = all.filter((entry): entry is [readonly string[], Command] => entry[1].kind === "command");

describe("the commands of weft", () => {
  it("have names of their own among their siblings", () => {
    const paths = all.flatMap(([path, { aliases = [] }]) =>
      [path.at(-1), ...aliases].map((name) => [...path.slice(0, -1), name].join(" ")),
    );
    expect(paths.filter((path, i) => paths.indexOf(path) !== i)).toEqual([]);
  });

  it.each(commands)("%j has examples that can be parsed, and help that shows them", (path, command) => {
    expect(command.examples?.length ?? 0).toBeGreaterThan(0);
    for (const [line] of command.examples ?? []) {
      const weft = /\bweft ([^|)>]*)/.exec(line)?.[1]?.trim();
      expect(weft).toBeDefined();
      expect(parseCommandLine(COMMANDS, weft?.split(/\s+/) ?? []).command.kind).toBe("command");
      expect(helpText(command, path)).toContain(line);
    }
  });

  it.each(commands)("%j has flags that do not hide those of all commands", (_path, { flags, cluster, output }) => {
    const common = { ...COMMON_FLAGS, ...(cluster === true ? CLUSTER_FLAGS : {}) };
    const shorts: (string | undefined)[] = Object.values(common).map((flag) =>
      "short" in flag ? flag.short : undefined,
    );
    if (output !== undefined) shorts.push("o");
    for (const [name, { short }] of Object.entries(flags)) {
      expect(Object.keys(common)).not.toContain(name);
      if (short !== undefined) expect(shorts).not.toContain(short);
    }
  });

  it.each(all)("%j is summed up in one line without a full stop", (_path, { summary }) => {
    expect(summary).toMatch(/^[^\n]{5,110}[^.\n]$/);
  });
});
