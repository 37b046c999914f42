/** Envoy on the loopback, as a process. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "#lib/eventually.ts";
import { envoyPath } from "./envoy.ts";

const START_MS = 30_000;

export class EnvoyProcess {
  /** Lines of its access logs on standard output. */
  readonly text: string[] = [];
  readonly #child: ChildProcess;
  readonly #folder = mkdtempSync(join(tmpdir(), "weft-envoy-"));
  #partial = "";
  #stderr = "";

  private constructor(config: object) {
    const admin = { address: { socket_address: { address: "127.0.0.1", port_value: 0 } } };
    const args = ["--config-yaml", JSON.stringify({ admin, ...config }), "--admin-address-path", this.#adminPath];
    const rest = [
      "--disable-hot-restart",
      "--concurrency",
      "1",
      "--log-level",
      "error",
      "--file-flush-interval-msec",
      "50",
    ];
    this.#child = spawn(envoyPath(), [...args, ...rest], { stdio: ["ignore", "pipe", "pipe"] });
    this.#child.stdout?.setEncoding("utf8");
    this.#child.stdout?.on("data", (text: string) => {
      const pieces = (this.#partial + text).split("\n");
      this.#partial = pieces.pop() ?? "";
      this.text.push(...pieces);
    });
    this.#child.stderr?.on("data", (text: Buffer) => {
      this.#stderr += text.toString();
    });
  }

  /** Resolves when its listeners, of which ports may be 0, are bound. */
  static async start(config: object): Promise<EnvoyProcess> {
    const envoy = new EnvoyProcess(config);
    try {
      await eventually(
        "envoy",
        async () => envoy.#died() || (await envoy.admin("/ready")).startsWith("LIVE"),
        START_MS,
      );
      if (envoy.#died()) throw new Error("it ended");
      return envoy;
    } catch (cause) {
      await envoy.stop();
      throw new Error(`envoy did not start: ${envoy.#stderr}`, { cause });
    }
  }

  async admin(path: string): Promise<string> {
    return (await fetch(`http://${readFileSync(this.#adminPath, "utf8")}${path}`)).text();
  }

  /** Where its listeners are, by name. */
  async ports(): Promise<ReadonlyMap<string, number>> {
    const { listener_statuses } = JSON.parse(await this.admin("/listeners?format=json")) as {
      listener_statuses: { name: string; local_address: { socket_address: { port_value: number } } }[];
    };
    return new Map(listener_statuses.map((each) => [each.name, each.local_address.socket_address.port_value]));
  }

  async stop(): Promise<void> {
    if (!this.#died()) {
      this.#child.kill("SIGKILL");
      await once(this.#child, "exit");
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #adminPath(): string {
    return join(this.#folder, "admin");
  }

  #died(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }
}
