/** The control plane as a process of its own, with a kubeconfig of whoever it is to be. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { eventually } from "#lib/eventually.ts";
import { ANYWHERE } from "../helpers/control-ports.ts";

const PROGRAM = resolve(import.meta.dirname, "../../control/bin/weft-control");
const START_MS = 60_000;

type Line = Readonly<Record<string, unknown>> & { readonly msg: string };

export class ControlProcess {
  readonly #child: ChildProcess;
  #output = "";

  private constructor(child: ChildProcess) {
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#output += text;
      });
    }
  }

  /** Resolves when agents can connect. */
  static async start(name: string, kubeconfig: string): Promise<ControlProcess> {
    const env = {
      PATH: process.env.PATH,
      KUBECONFIG: kubeconfig,
      POD_NAME: name,
      POD_NAMESPACE: "istio-system",
      ...ANYWHERE,
    };
    const control = new ControlProcess(spawn(PROGRAM, { env }));
    try {
      await eventually("the control plane's start", () => control.line("serving") ?? control.#hasEnded(), START_MS);
      if (control.#hasEnded()) throw new Error("it ended");
      return control;
    } catch (error) {
      await control.kill();
      throw new Error(`weft-control did not start: ${control.#output}`, { cause: error });
    }
  }

  get grpcPort(): number {
    return Number(this.line("serving")?.grpcPort);
  }

  get admissionPort(): number {
    return Number(this.line("serving")?.admissionPort);
  }

  /** The last line with this message. */
  line(message: string): Line | undefined {
    return this.lines().findLast(({ msg }) => msg === message);
  }

  lines(): Line[] {
    return this.#output
      .split("\n")
      .filter((text) => text.startsWith("{") && text.endsWith("}"))
      .map((text) => JSON.parse(text) as Line);
  }

  async kill(): Promise<void> {
    if (this.#hasEnded()) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }

  #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }
}
