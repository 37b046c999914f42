/** `weft playground status` */
import { checkName, playgroundNames, readState } from "../../../../playground/src/state.ts";
import { command } from "../../frame/command.ts";
import { Failure } from "../../frame/errors.ts";
import { DEFAULT_NAME, NAME_FLAG, needRoot } from "./names.ts";
import { playgroundStatus } from "./status-text.ts";

export const statusCommand = command({
  name: "status",
  summary: "show nodes, pods and addresses of a playground",
  flags: { name: NAME_FLAG },
  examples: [["sudo weft playground status", "Where the API is, and what runs"]],
  run: async ({ out }, { flags }) => {
    const name = flags.name ?? DEFAULT_NAME;
    checkName(name);
    needRoot("status");
    const state = readState(name);
    if (state === undefined) {
      const others = playgroundNames();
      const hint = others.length === 0 ? "none is running" : `running: ${others.join(", ")}`;
      throw new Failure(`there is no playground "${name}"`, hint);
    }
    out(await playgroundStatus(state));
    return undefined;
  },
});
