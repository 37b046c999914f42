/** Running programs of the machine. */
import { spawn } from "node:child_process";

/** A program that failed; the message carries what it wrote to stderr. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

/** Where programs are looked for: a shell of `su` has no sbin in its PATH. */
export function programPath(): string {
  return `${process.env.PATH ?? "/usr/bin:/bin"}:/usr/local/sbin:/usr/sbin:/sbin`;
}

/** Runs a program to its end with `input` on stdin; resolves with its stdout. */
export function run(program: string, args: readonly string[], input = ""): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, PATH: programPath() },
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (data: string) => {
      stdout += data;
    });
    child.stderr.setEncoding("utf8").on("data", (data: string) => {
      stderr += data;
    });
    child.on("error", (error) => reject(new CommandError(`${program}: ${error.message}`)));
    child.on("close", (code, signal) => {
      if (code === 0) resolve(stdout);
      else reject(new CommandError(`${program} ${args.join(" ")}: ${stderr.trim() || signal || `exit ${code}`}`));
    });
    // A program that ends without reading says so by its exit code.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}

/** Runs `lines` of iproute2 in one process, in this network namespace or in the one at `netns` (a path). */
export async function ip(lines: readonly string[], netns?: string): Promise<void> {
  const batch = ["ip", "-batch", "-"];
  // `ip -n` knows names below /run/netns only.
  const [program = "", ...args] = netns === undefined ? batch : ["nsenter", `--net=${netns}`, ...batch];
  await run(program, args, `${lines.join("\n")}\n`);
}

/** For a POSIX shell: the text as one word. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
