/** demo/wiretap, run where the packets between the nodes pass. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { WireReport } from "./stage.ts";

const PROGRAM = fileURLToPath(new URL("../../build/tools/weft-wiretap", import.meta.url));

/** Listens on `interface` of the network namespace at `netns` while `body` runs. */
export async function tap(
  netns: string,
  interfaceName: string,
  marker: string,
  body: () => Promise<void>,
): Promise<WireReport> {
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing; run "make build/tools/weft-wiretap"`);
  const child = spawn("nsenter", [`--net=${netns}`, PROGRAM, interfaceName, marker], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  const ended = once(child, "close");
  let output = "";
  let errors = "";
  const ready = Promise.withResolvers<void>();
  child.stdout.setEncoding("utf8").on("data", (data: string) => {
    output += data;
    if (output.includes("ready\n")) ready.resolve();
  });
  child.stderr.setEncoding("utf8").on("data", (data: string) => {
    errors += data;
  });
  void ended.then(() => ready.reject(new Error(`the wire tap ended: ${errors.trim()}`)));
  await ready.promise;
  try {
    await body();
  } finally {
    child.stdin.end();
    await ended;
  }
  return JSON.parse(output.slice(output.indexOf("{"))) as WireReport;
}
