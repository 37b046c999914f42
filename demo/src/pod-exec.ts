/** Runs programs in a playground's pod, as its kubelet does for `kubectl exec`: same cgroup, same namespaces. */
import { spawn } from "node:child_process";
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

export function execIn(target: ExecTarget, argv: readonly string[], timeoutMs: number): Promise<ExecResult> {
  // The cgroup first: capture knows a pod's sockets by it from the moment they are made.
  const enter =
    'echo $$ >"$0/cgroup.procs" && pid=$1 && shift && exec nsenter --target "$pid" --mount --uts --net "$@"';
  const args = ["-c", enter, target.cgroup, String(target.pid), ...argv];
  const child = spawn("/bin/sh", args, { stdio: ["ignore", "pipe", "pipe"], env: { PATH, HOME: "/root" }, cwd: "/" });
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
