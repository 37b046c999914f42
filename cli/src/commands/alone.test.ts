import { describe, expect, it } from "vitest";
import { findCommand } from "../frame/command.ts";
import { ALONE, rootFor } from "./alone.ts";
import { COMMANDS } from "./index.ts";

describe("commands that are loaded alone", () => {
  it.each(ALONE)("%s is the one that the whole tree has under this word", async (word) => {
    const alone = findCommand(await rootFor(word), word);
    expect(alone).toBeDefined();
    expect(alone).toBe(findCommand(COMMANDS, word));
  });

  it("are not chosen by anything else", async () => {
    for (const word of [undefined, "-n", "--help", "help", "__complete", "constructor", "nothing"]) {
      expect(await rootFor(word)).toBe(COMMANDS);
    }
  });
});
