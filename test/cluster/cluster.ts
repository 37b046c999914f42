/** The cluster of two nodes, as its administrator sees it. `make cluster-up` has started it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "../..");
const ENTER = resolve(import.meta.dirname, "enter.sh");
const HELM = resolve(ROOT, "build/kube/helm");
const CHART = resolve(ROOT, "deploy/chart/weft");
export const WEFT = resolve(ROOT, "cli/bin/weft");
export const NODES = ["node1", "node2"] as const;

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program on a machine of the cluster; the exit code is the caller's to judge. */
export async function on(machine: string, words: readonly string[], input = ""): Promise<Output> {
  const child = spawn(ENTER, [machine, ...words]);
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const [code] = await once(child, "close");
  return { code: (code as number | null) ?? -1, stdout, stderr };
}

/** A program on a machine of the cluster that goes on until it is told to end. */
export class Running {
  readonly #machine: string;
  #output = "";
  readonly ended: Promise<void>;
  code: number | undefined;

  constructor(machine: string, words: readonly string[]) {
    this.#machine = machine;
    // Its first line is its process id there.
    const child = spawn(ENTER, [machine, "sh", "-c", 'echo $$; exec "$@"', "sh", ...words]);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.#output += text;
    });
    child.stderr.resume();
    this.ended = once(child, "close").then(([code]) => {
      this.code = (code as number | null) ?? -1;
    });
  }

  get stdout(): string {
    return this.#output.slice(this.#output.indexOf("\n") + 1);
  }

  /** As Ctrl-C in a terminal would; resolves when it has ended. */
  async interrupt(): Promise<void> {
    await on(this.#machine, ["kill", "-INT", this.#output.slice(0, this.#output.indexOf("\n"))]);
    await this.ended;
  }
}

export function start(machine: string, words: readonly string[]): Running {
  return new Running(machine, words);
}

/** The output; throws what the program said when it failed. */
export async function must(output: Promise<Output>): Promise<string> {
  const { code, stdout, stderr } = await output;
  if (code !== 0) throw new Error(stderr === "" ? stdout : stderr);
  return stdout;
}

export function kubectl(...words: readonly string[]): Promise<string> {
  return must(on("hub", ["kubectl", ...words]));
}

export async function apply(...objects: readonly object[]): Promise<void> {
  const list = { apiVersion: "v1", kind: "List", items: objects };
  await must(on("hub", ["kubectl", "apply", "--server-side", "-f", "-"], JSON.stringify(list)));
}

export function helm(...words: readonly string[]): Promise<string> {
  return must(on("hub", [HELM, ...words, "--namespace", "istio-system"]));
}

/** As the guide has it, with the image that the nodes have. */
export function install(...more: readonly string[]): Promise<string> {
  const settings = ["--set", "image.tag=test", "--wait", "--timeout", "5m", ...more];
  return helm("upgrade", "--install", "weft", CHART, "--create-namespace", ...settings);
}

/** Runs a Node script in a pod. */
export function inPod(namespace: string, pod: string, script: string): Promise<Output> {
  return on("hub", ["kubectl", "-n", namespace, "exec", pod, "--", "node", "-e", script]);
}
