/** The real agent as a process, as a node runs it, with fakes of the Kubernetes API and of the control plane. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { LoggedProcess, PROCESS_ENV } from "./logged-process.ts";
import { joinCgroup } from "./pod-bed.ts";

export type { LogLine } from "./logged-process.ts";

export interface AgentProcessOptions {
  readonly env: Readonly<Record<string, string>>;
  /** Where the process lives, so that its own sockets are not captured. */
  readonly cgroup: string;
  /** What paths of secrets are relative to. */
  readonly folder?: string;
  readonly args?: readonly string[];
}

const BIN = fileURLToPath(new URL("../../agent/bin/weft-agent", import.meta.url));

export class AgentProcess extends LoggedProcess {
  /** Resolves when its HTTP servers are bound. */
  static async start({ env, cgroup, folder, args = [] }: AgentProcessOptions): Promise<AgentProcess> {
    // The shell enters the cgroup before anything of the agent runs.
    const child = spawn("/bin/sh", ["-c", 'read -r _; exec "$0" "$@"', BIN, ...args], {
      ...(folder === undefined ? {} : { cwd: folder }),
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...PROCESS_ENV, ...env },
    });
    const agent = new AgentProcess(child);
    if (child.pid === undefined) throw new Error(`cannot start ${BIN}`);
    joinCgroup(cgroup, child.pid);
    child.stdin?.end("go\n");
    await agent.started();
    return agent;
  }
}
