import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { command, group } from "./command.ts";
import { UsageError } from "./errors.ts";
import { parseCommandLine } from "./parse.ts";

const routes = command({
  name: "routes",
  aliases: ["r"],
  summary: "routes of a waypoint",
  cluster: true,
  output: ["table", "json"],
  args: [{ name: "POD", about: "the waypoint" }],
  flags: {
    port: { type: "string", multiple: true, value: "PORT", about: "of these ports" },
    watch: { type: "boolean", short: "w", about: "go on" },
  },
  run: () => 0,
});
const root = group({
  name: "weft",
  summary: "a mesh",
  commands: [group({ name: "proxy-config", aliases: ["pc"], summary: "of a waypoint", commands: [routes] })],
});
const parse = (...words: string[]) => parseCommandLine(root, words);
const refusal = (...words: string[]) => {
  try {
    parse(...words);
  } catch (error) {
    return error instanceof UsageError ? error.message : String(error);
  }
  return "";
};

describe("the command line", () => {
  it("finds a command by its words and by their aliases", () => {
    for (const words of [
      ["proxy-config", "routes"],
      ["pc", "r"],
    ]) {
      expect(parse(...words, "wp").path).toEqual(["proxy-config", "routes"]);
    }
  });

  it("takes flags before, between and after the words of the command", () => {
    for (const words of [
      ["-n", "shop", "pc", "routes", "wp"],
      ["pc", "--namespace=shop", "routes", "wp"],
      ["pc", "routes", "wp", "-nshop"],
      ["pc", "routes", "--namespace", "shop", "wp"],
    ]) {
      const { input } = parse(...words);
      expect(input.flags.namespace).toBe("shop");
      expect(input.args).toEqual(["wp"]);
    }
  });

  it("takes istioctl's spelling of a flag", () => {
    expect(parse("--istioNamespace", "mesh", "pc", "r", "wp").input.flags["mesh-namespace"]).toBe("mesh");
    expect(parse("pc", "r", "wp", "--istioNamespace=mesh").input.flags["mesh-namespace"]).toBe("mesh");
  });

  it("gives absent flags their empty value, and lists to those that may be repeated", () => {
    const { flags } = parse("pc", "r", "wp", "--port", "80", "--port", "81").input;
    expect(flags).toMatchObject({ port: ["80", "81"], watch: false, output: undefined });
    expect(parse("pc", "r", "wp").input.flags.port).toEqual([]);
  });

  it("takes what follows -- as it is", () => {
    expect(parse("pc", "r", "--", "--port").input.args).toEqual(["--port"]);
  });

  it("says in one line what is wrong and what may have been meant", () => {
    expect(refusal("proxy-confg")).toBe('there is no command "proxy-confg"; did you mean proxy-config?');
    expect(refusal("pc", "nothing")).toBe('there is no command "proxy-config nothing"; see weft proxy-config --help');
    expect(refusal("pc", "r", "wp", "--prot", "80")).toBe(
      "weft proxy-config routes has no flag --prot; did you mean --port?",
    );
    expect(refusal("pc", "r")).toBe(
      "weft proxy-config routes needs POD: the waypoint; see weft proxy-config routes --help",
    );
    expect(refusal("pc", "r", "a", "b")).toContain('does not know what to do with "b"');
    expect(refusal("pc", "r", "a", "-o", "xml")).toBe(
      'weft proxy-config routes --output takes one of table, json, short, not "xml"',
    );
    expect(refusal("pc", "r", "a", "--port")).toContain("--port");
  });

  it("asks nothing of a command line that wants help", () => {
    expect(parse("pc", "r", "--help").input.flags.help).toBe(true);
    expect(parse("--help").path).toEqual([]);
  });

  it("ends every command line in a command or in one line of complaint", () => {
    const word = fc.oneof(
      fc.constantFrom("pc", "proxy-config", "routes", "-n", "--help", "-o", "json", "--", "-", "--port=1", "-A", "-wA"),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 8 }), (words) => {
        const complaint = refusal(...words);
        expect(complaint.includes("TypeError")).toBe(false);
      }),
    );
  });
});
