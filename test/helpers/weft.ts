/** The real `weft`, as a process of its own. */
import { spawn } from "node:child_process";
import { resolve } from "node:path";

const WEFT = resolve(import.meta.dirname, "../../cli/bin/weft");
/** A command that hangs fails its test with what it has printed. */
const RUN_MS = 60_000;

export interface WeftResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface WeftOptions {
  /** Given as KUBECONFIG. Absent: no cluster is named. */
  readonly kubeconfig?: string;
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Ends it as Ctrl-C would. */
  readonly signal?: AbortSignal;
  /** Called with what has been printed so far. */
  readonly onOutput?: (stdout: string) => void;
}

/** Runs `weft`; the exit code is the caller's to judge. */
export function weft(args: readonly string[], options: WeftOptions = {}): Promise<WeftResult> {
  return runProgram(WEFT, args, options);
}

/** The same with a terminal, as a person would. */
export function weftInTerminal(args: readonly string[], options: WeftOptions = {}): Promise<WeftResult> {
  const words = [WEFT, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
  return runProgram("script", ["-qec", words.join(" "), "/dev/null"], options);
}

function runProgram(program: string, args: readonly string[], options: WeftOptions): Promise<WeftResult> {
  const { kubeconfig, input = "", env = {}, signal, onOutput } = options;
  const child = spawn(program, args, {
    env: {
      PATH: process.env.PATH,
      // Nobody's: what is in the home of whoever runs the tests must not be found.
      HOME: "/nonexistent",
      XDG_CACHE_HOME: resolve(import.meta.dirname, "../../build/cache"),
      ...(kubeconfig === undefined ? {} : { KUBECONFIG: kubeconfig }),
      ...env,
    },
    timeout: RUN_MS,
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (data: string) => {
    stdout += data;
    onOutput?.(stdout);
  });
  child.stderr.setEncoding("utf8").on("data", (data: string) => {
    stderr += data;
  });
  signal?.addEventListener("abort", () => child.kill("SIGINT"), { once: true });
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  return new Promise((done, failed) => {
    child.on("error", failed);
    child.on("close", (code) => done({ code, stdout, stderr }));
  });
}
