/** `weft completion SHELL` */
import { command } from "../frame/command.ts";
import { completionScript, SHELLS } from "../frame/completion.ts";
import { UsageError } from "../frame/errors.ts";

export const completionCommand = command({
  name: "completion",
  summary: "print the completion script of a shell",
  args: [{ name: "SHELL", about: SHELLS.join(", ") }],
  examples: [
    ["source <(weft completion bash)", "For this bash; put the line into ~/.bashrc for all of them"],
    ["weft completion fish | source", "For this fish"],
  ],
  run: ({ out }, { args: [word] }) => {
    const shell = SHELLS.find((each) => each === word);
    if (shell === undefined) throw new UsageError(`weft completion knows ${SHELLS.join(", ")}, not "${word}"`);
    out(completionScript(shell));
    return undefined;
  },
});
