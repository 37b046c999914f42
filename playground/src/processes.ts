/** The playground's processes in namespaces of their own: holders of namespaces, the fabric, the kubelets. */
import { type ChildProcess, spawn } from "node:child_process";
import type net from "node:net";
import { join } from "node:path";
import type { FromProcess, ToProcess } from "./config.ts";
import { makeCgroup } from "./system/cgroup.ts";
import { programPath } from "./system/command.ts";

/** Sysctls of a namespace that routes. They are the namespace's own, not the machine's. */
const ROUTER_SETTINGS = [
  "echo 1 >/proc/sys/net/ipv4/ip_forward",
  "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding",
  "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad",
  "echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad",
].join(" && ");

/** A sleeping process in a new network namespace; the namespace lives as long as it does. */
export function holdNamespace(cgroup: string): Promise<number> {
  makeCgroup(cgroup);
  const script = `echo $$ >"$0/cgroup.procs" && exec unshare --net /bin/sh -c '${ROUTER_SETTINGS} && echo ready && exec sleep infinity'`;
  const child = spawn("/bin/sh", ["-c", script, cgroup], { stdio: ["ignore", "pipe", "pipe"], cwd: "/" });
  return new Promise((resolve, reject) => {
    let errors = "";
    child.stderr.on("data", (data: Buffer) => {
      errors += data;
    });
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`no network namespace: ${errors.trim() || `exit ${code}`}`)));
    child.stdout.once("data", () => {
      child.unref();
      child.stdout.destroy();
      child.stderr.destroy();
      if (child.pid === undefined) reject(new Error("no network namespace: no process"));
      else resolve(child.pid);
    });
  });
}

export interface ProcessOptions {
  readonly name: string;
  readonly script: string;
  readonly configPath: string;
  readonly cgroup: string;
  readonly netns: string;
  readonly cacheDir: string;
  readonly report: (message: string) => void;
}

/** A Node process of ours in a cgroup and network namespace. */
export class PlaygroundProcess {
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly ready: Promise<void>;
  /** Resolves with a message when the process has ended. */
  readonly ended: Promise<string>;

  constructor(options: ProcessOptions) {
    makeCgroup(options.cgroup);
    const enter =
      'echo $$ >"$0/cgroup.procs" && exec nsenter --net="$1" "$2" --disable-warning=ExperimentalWarning "$3" "$4"';
    const args = [options.cgroup, options.netns, process.execPath, options.script, options.configPath];
    this.#name = options.name;
    this.#child = spawn("/bin/sh", ["-c", enter, ...args], {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      cwd: "/",
      env: { PATH: programPath(), NODE_COMPILE_CACHE: options.cacheDir },
    });
    let errors = "";
    this.#child.stderr?.on("data", (data: Buffer) => {
      errors = (errors + data.toString()).slice(-4000);
    });
    this.ended = new Promise((resolve) => {
      this.#child.on("error", (error) => resolve(`${options.name}: ${error.message}`));
      this.#child.on("exit", (code, signal) => resolve(`${options.name} ended (${signal ?? code}): ${errors.trim()}`));
    });
    this.ready = new Promise((resolve, reject) => {
      this.#child.on("message", (message: FromProcess) => {
        if (message.kind === "ready") resolve();
        else options.report(`${options.name}: ${message.message}`);
      });
      void this.ended.then((why) => reject(new Error(why)));
    });
    this.ready.catch(() => {});
  }

  /** Hands a listening socket over; it is the process's from then on. */
  give(message: ToProcess, listener: net.Server): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#child.send(message, listener, (error) => {
        listener.close();
        if (error === null) resolve();
        else reject(new Error(`${this.#name} did not take a listener: ${error.message}`));
      });
    });
  }
}

export function scriptPath(...parts: string[]): string {
  return join(import.meta.dirname, ...parts);
}
