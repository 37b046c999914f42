/** `weft playground down` */
import { tearDown } from "../../../../playground/src/down.ts";
import { checkName, playgroundNames } from "../../../../playground/src/state.ts";
import { command } from "../../frame/command.ts";
import { DEFAULT_NAME, NAME_FLAG, needRoot } from "./names.ts";

export const downCommand = command({
  name: "down",
  summary: "end a playground and undo all of it",
  flags: {
    name: NAME_FLAG,
    all: { type: "boolean", about: "every playground there is" },
  },
  examples: [["sudo weft playground down --all", "Whatever was left behind, too"]],
  run: async ({ out }, { flags }) => {
    const name = flags.name ?? DEFAULT_NAME;
    checkName(name);
    needRoot("down");
    for (const each of flags.all ? playgroundNames() : [name]) {
      await tearDown(each);
      out(`playground ${each} is gone\n`);
    }
    return undefined;
  },
});
