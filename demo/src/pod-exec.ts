/** Runs programs in a playground's pod, as its kubelet does for `kubectl exec`: same cgroup, same namespaces. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import type { ExecResult } from "./stage.ts";

export interface ExecTarget {
  /** cgroup v2 folder of the container. */
  readonly cgroup: string;
  /** Any process of the container. */
  readonly pid: number;
}

/** What `timeout(1)` exits with. */
const TIMED_OUT = 124;
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export type PodProcess = ChildProcessByStdio<null, Readable, Readable>;

/** Starts a program; whoever starts it ends it. */
export function spawnIn(target: ExecTarget, argv: readonly string[]): PodProcess {
  // The cgroup first: capture knows a pod's sockets by it from the moment they are made.
  const enter =
    'echo $$ >"$0/cgroup.procs" && pid=$1 && shift && exec nsenter --target "$pid" --mount --uts --net "$@"';
  const args = ["-c", enter, target.cgroup, String(target.pid), ...argv];
  return spawn("/bin/sh", args, { stdio: ["ignore", "pipe", "pipe"], env: { PATH, HOME: "/root" }, cwd: "/" });
}

export function execIn(target: ExecTarget, argv: readonly string[], timeoutMs: number): Promise<ExecResult> {
  const child = spawnIn(target, argv);
  return new Promise((resolve, reject) => {
    let stdout = "";
    let stderr = "";
    let timedOut = false;
    child.stdout.setEncoding("utf8").on("data", (data: string) => {
      stdout += data;
    });
    child.stderr.setEncoding("utf8").on("data", (data: string) => {
      stderr += data;
    });
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill("SIGKILL");
    }, timeoutMs);
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(timer);
      resolve({ code: timedOut ? TIMED_OUT : (code ?? 1), stdout, stderr });
    });
  });
}
