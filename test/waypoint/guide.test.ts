/** docs/guides, run as they stand: each block of commands prints what the guide says. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deployMesh } from "../../playground/src/mesh.ts";
import { Bed } from "../playground/bed.ts";

const ROOT = join(import.meta.dirname, "../..");
const GUIDES = ["waypoints.md", "bookinfo.md"];
const STEP = /^## (.+)$|```sh\n([\s\S]*?)```\n(?:```text\n([\s\S]*?)```)?/gm;
const END = "--- end of a step ---";

interface Step {
  readonly name: string;
  readonly commands: string;
  readonly output: string;
}

function steps(guide: string): Step[] {
  const text = readFileSync(join(ROOT, "docs/guides", guide), "utf8");
  const found: Step[] = [];
  let section = "";
  for (const [, heading, commands, output = ""] of text.matchAll(STEP)) {
    if (heading !== undefined) section = heading;
    else found.push({ name: `${section} (${found.length + 1})`, commands: commands ?? "", output });
  }
  return found;
}

/** One shell for the whole guide, as a reader has it. */
class Shell {
  readonly #process;
  #output = "";
  #onOutput = (): void => undefined;

  constructor(env: NodeJS.ProcessEnv) {
    this.#process = spawn("bash", { cwd: ROOT, env, stdio: ["pipe", "pipe", "pipe"] });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.#output += text;
        this.#onOutput();
      });
    }
  }

  async run(commands: string): Promise<string> {
    this.#output = "";
    this.#process.stdin.write(`{ ${commands}\n} 2>&1 </dev/null; echo '${END}'\n`);
    const deadline = AbortSignal.timeout(90_000);
    while (!this.#output.includes(END)) {
      await new Promise<void>((resolve, reject) => {
        this.#onOutput = resolve;
        deadline.addEventListener("abort", () => reject(new Error(`no end after: ${this.#output}`)), { once: true });
      });
    }
    return this.#output.slice(0, this.#output.indexOf(END));
  }

  close(): void {
    this.#process.stdin.end();
    this.#process.kill();
  }
}

/** `…` stands for any text, and lines are compared without the space around their words. */
function pattern(output: string): RegExp {
  const literal = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/ +/g, " +");
  return new RegExp(`^${output.trim().split("…").map(literal).join("[\\s\\S]*?")}$`);
}

describe("docs/guides", () => {
  let bed: Bed;
  let shell: Shell;
  beforeAll(async () => {
    bed = await Bed.start("t-guide");
    await deployMesh(bed.playground);
  });
  afterAll(() => bed?.stop());

  describe.each(GUIDES)("%s", (guide) => {
    beforeAll(() => {
      shell = new Shell({ ...process.env, KUBECONFIG: bed.playground.kubeconfig });
    });
    afterAll(() => shell?.close());

    it.each(steps(guide))("$name", async ({ commands, output }) => {
      expect((await shell.run(commands)).trim()).toMatch(pattern(output));
    });
  });
});
