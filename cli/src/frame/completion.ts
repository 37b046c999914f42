/** Shell completion: the scripts ask `weft __complete WORDS...`, which answers from the command tree. */
import { type Command, findCommand, type Group } from "./command.ts";
import { flagsOf } from "./parse.ts";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** The hidden command of the scripts below. */
export const COMPLETE = "__complete";

/** What may stand for the last of `words`; the others are complete. */
export function completions(root: Group, words: readonly string[]): string[] {
  const last = words.at(-1) ?? "";
  let command: Command | Group = root;
  for (const word of words.slice(0, -1)) {
    if (word.startsWith("-") || command.kind === "command") continue;
    const found: Command | Group | undefined = findCommand(command, word);
    // A word that is no command may be the value of a flag.
    if (found !== undefined) command = found;
  }
  const flags = flagsOf(command);
  const before = words.at(-2) ?? "";
  const flag = Object.entries(flags).find(([name, { short }]) => before === `--${name}` || before === `-${short}`)?.[1];
  if (flag?.type === "string") return (flag.choices ?? []).filter((choice) => choice.startsWith(last));
  const candidates = last.startsWith("-")
    ? Object.keys(flags).map((name) => `--${name}`)
    : command.kind === "group"
      ? command.commands.map(({ name }) => name)
      : [];
  return candidates.filter((each) => each.startsWith(last)).sort();
}

export function completionScript(shell: Shell): string {
  return SCRIPTS[shell];
}

const SCRIPTS: Readonly<Record<Shell, string>> = {
  bash: `# weft completion for bash. In ~/.bashrc:  source <(weft completion bash)
_weft() {
  local IFS=$'\\n'
  COMPREPLY=($(weft ${COMPLETE} "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _weft weft
`,
  zsh: `#compdef weft
# weft completion for zsh. In ~/.zshrc, after compinit:  source <(weft completion zsh)
_weft() {
  local -a found
  found=(\${(f)"$(weft ${COMPLETE} "\${(@)words[2,CURRENT]}" 2>/dev/null)"})
  if (( $#found )); then compadd -- $found; else _files; fi
}
compdef _weft weft
`,
  fish: `# weft completion for fish. In ~/.config/fish/config.fish:  weft completion fish | source
function __weft_complete
  set -l words (commandline -opc) (commandline -ct)
  weft ${COMPLETE} $words[2..-1] 2>/dev/null
end
complete -c weft -f -a '(__weft_complete)'
`,
};
