/** A folder that becomes a compressed archive. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Failure } from "../frame/errors.ts";
import { redact, redactText } from "./redact.ts";

export class Archive {
  readonly #folder: string;
  readonly #name: string;

  private constructor(folder: string, name: string) {
    this.#folder = folder;
    this.#name = name;
  }

  /** `name` is the one folder in it. Nobody else may read what is being collected. */
  static async create(name: string): Promise<Archive> {
    return new Archive(await mkdtemp(join(tmpdir(), "weft-report-")), name);
  }

  text(path: string, text: string): Promise<void> {
    return this.#write(path, redactText(text));
  }

  json(path: string, value: unknown): Promise<void> {
    return this.#write(path, `${JSON.stringify(redact(value), null, 2)}\n`);
  }

  async pack(file: string): Promise<void> {
    const tar = spawn("tar", ["-czf", file, "-C", this.#folder, this.#name], { stdio: ["ignore", "ignore", "pipe"] });
    let complaint = "";
    tar.stderr.on("data", (data: Buffer) => {
      complaint += data;
    });
    const [code] = await once(tar, "close").catch((error: Error) => {
      throw new Failure(`cannot run tar: ${error.message}`, "install it", { cause: error });
    });
    if (code !== 0) throw new Failure(`tar cannot write ${file}: ${complaint.trim()}`, "choose another --output-file");
  }

  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #write(path: string, text: string): Promise<void> {
    const whole = join(this.#folder, this.#name, path);
    await mkdir(dirname(whole), { recursive: true });
    await writeFile(whole, text, { mode: 0o600 });
  }
}
