/** `weft`: reads the command line, runs one command, ends with its exit code. */
import { enableCompileCache } from "node:module";
import { join } from "node:path";

const { env, stdin, stdout, stderr } = process;
// A third of the time to start. Never in a folder that others may write to: what is cached is run.
const cache = env.XDG_CACHE_HOME ?? (env.HOME === undefined ? undefined : join(env.HOME, ".cache"));
if (cache !== undefined) enableCompileCache(join(cache, "weft"));

const { rootFor } = await import("./commands/alone.ts");
const { runCommandLine } = await import("./frame/run.ts");

const ended = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => ended.abort());
// Whoever reads our output may have seen enough, as `head` does.
stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

const words = process.argv.slice(2);
process.exitCode = await runCommandLine(await rootFor(words[0]), words, {
  env,
  stdin,
  stdout,
  stderr,
  signal: ended.signal,
});
