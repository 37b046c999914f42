/** A replica of the control plane as a process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually } from "#lib/eventually.ts";
import { ANYWHERE } from "./control-ports.ts";

const BIN = fileURLToPath(new URL("../../control/bin/weft-control", import.meta.url));
const START_MS = 60_000;

export class ControlProcess {
  readonly grpcPort: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, grpcPort: number) {
    this.#child = child;
    this.grpcPort = grpcPort;
  }

  /** Resolves when it serves. `folder` is for its kubeconfig; `api` is the URL of the Kubernetes API. */
  static async start(name: string, folder: string, api: string, env: Record<string, string> = {}) {
    const kubeconfig = join(folder, `${name}.kubeconfig`);
    const clusters = [{ name: "c", cluster: { server: api } }];
    const contexts = [{ name: "c", context: { cluster: "c", user: "u" } }];
    const users = [{ name: "u", user: {} }];
    writeFileSync(kubeconfig, JSON.stringify({ "current-context": "c", clusters, contexts, users }));
    const child = spawn(BIN, {
      env: {
        PATH: process.env.PATH,
        KUBECONFIG: kubeconfig,
        POD_NAME: name,
        ...ANYWHERE,
        ...env,
      },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout.on("data", (text: Buffer) => {
      output += text;
    });
    const port = await eventually(`${name} to serve`, () => /"grpcPort":(\d+)/.exec(output)?.[1], START_MS);
    return new ControlProcess(child, Number(port));
  }

  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill(signal);
    await once(this.#child, "exit");
  }
}
