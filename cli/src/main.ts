/** `weft`: one verb per file. Exit codes: 0 done, 1 failed, 2 wrong usage. */
import { playgroundCommand } from "./playground.ts";
import { UsageError } from "./usage.ts";

const HELP = `weft: a service mesh without sidecars

Usage: weft COMMAND

Commands:
  playground up       start a cluster on this machine, with the mesh in it
  playground down     end one and undo all of it
  playground status   show nodes, pods and addresses

weft COMMAND --help tells more.
`;

async function main(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  switch (command) {
    case "playground":
      return playgroundCommand(rest);
    case "--help":
    case "-h":
    case "help":
      process.stdout.write(HELP);
      return 0;
    case undefined:
      process.stderr.write(HELP);
      return 2;
    default:
      throw new UsageError(`there is no command "${command}"; see weft --help`);
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`weft: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
