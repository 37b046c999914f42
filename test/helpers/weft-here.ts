/** `weft` within the test's own process: quick, for what needs no process of its own. */
import { PassThrough } from "node:stream";
import { COMMANDS } from "../../cli/src/commands/index.ts";
import { runCommandLine } from "../../cli/src/frame/run.ts";
import type { WeftOptions, WeftResult } from "./weft.ts";

export async function weftHere(args: readonly string[], options: WeftOptions = {}): Promise<WeftResult> {
  const { input = "", kubeconfig, env = {} } = options;
  const stdin = new PassThrough();
  stdin.end(input);
  const written = { stdout: "", stderr: "" };
  const stream = (name: "stdout" | "stderr") => {
    const sink = new PassThrough().setEncoding("utf8");
    sink.on("data", (text: string) => {
      written[name] += text;
    });
    return sink as unknown as NodeJS.WriteStream;
  };
  const code = await runCommandLine(COMMANDS, args, {
    env: { HOME: "/nonexistent", ...(kubeconfig === undefined ? {} : { KUBECONFIG: kubeconfig }), ...env },
    stdin,
    stdout: stream("stdout"),
    stderr: stream("stderr"),
    signal: options.signal ?? new AbortController().signal,
  });
  return { code, ...written };
}
