/** Completion scripts in the shells that they are for. */

import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { run } from "../../playground/src/system/command.ts";
import { weft } from "../helpers/weft.ts";

const BIN = resolve(import.meta.dirname, "../../cli/bin");

describe("shell completion", () => {
  it("completes in bash", async () => {
    const ask = (line: string) => {
      const words = line.split(" ");
      const quoted = words.map((word) => `'${word}'`).join(" ");
      return `COMP_WORDS=(weft ${quoted}); COMP_CWORD=${words.length}; _weft; echo "\${COMPREPLY[*]}"`;
    };
    const script = [
      `PATH=${BIN}:$PATH`,
      "source <(weft completion bash)",
      "complete -p weft",
      ask("waypoint a"),
      ask("workloads --no"),
      ask("status -o "),
    ].join("\n");
    expect(await run("bash", ["-ec", script])).toBe(
      "complete -o default -F _weft weft\napply\n--no-color --node\ntable wide json yaml short\n",
    );
  });

  it("is printed for zsh and fish, and for no other shell", async () => {
    expect((await weft(["completion", "zsh"])).stdout).toMatch(/^#compdef weft\n/);
    expect((await weft(["completion", "fish"])).stdout).toContain("complete -c weft -f");
    const other = await weft(["completion", "tcsh"]);
    expect([other.code, other.stderr]).toEqual([2, 'weft: weft completion knows bash, zsh, fish, not "tcsh"\n']);
  });
});
