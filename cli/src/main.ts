/** `weft`: reads the command line, runs one command, ends with its exit code. */
import { COMMANDS } from "./commands/index.ts";
import { runCommandLine } from "./frame/run.ts";

const ended = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => ended.abort());
// Whoever reads our output may have seen enough, as `head` does.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

const { env, stdin, stdout, stderr } = process;
process.exitCode = await runCommandLine(COMMANDS, process.argv.slice(2), {
  env,
  stdin,
  stdout,
  stderr,
  signal: ended.signal,
});
