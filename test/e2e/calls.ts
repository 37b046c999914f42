/** Small things that the groups of wide tests do all the time. */

import { eventually } from "#lib/eventually.ts";
import type { AccessLine } from "../../demo/src/access-log.ts";
import type { ExecResult, Stage, StagePod } from "../../demo/src/stage.ts";

/** Changes take a moment to reach the agents. */
export const SETTLE_MS = 20_000;

/** Status code of a GET from the pod; 0 when no answer came. */
export async function statusOf(stage: Stage, from: StagePod, url: string): Promise<number> {
  const argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "4", "--globoff", url];
  return Number((await stage.exec(from, argv, 15_000)).stdout);
}

export async function accessLines(stage: Stage): Promise<AccessLine[]> {
  return (await Promise.all(stage.nodes.map((node) => node.accessLog()))).flat();
}

/** A line of the access logs that fits, as soon as there is one. */
export function lineThat(stage: Stage, what: string, fits: (line: AccessLine) => boolean): Promise<AccessLine> {
  return eventually(what, async () => (await accessLines(stage)).find(fits), SETTLE_MS);
}

/** Runs a Node script in the pod: what it writes to standard output comes back when it ends. */
export function runScript(stage: Stage, from: StagePod, script: string, timeoutMs: number): Promise<ExecResult> {
  return stage.exec(from, [process.execPath, "-e", script], timeoutMs);
}

/** The pod of an application, by its label. */
export function podOf(pods: readonly StagePod[], app: string): StagePod {
  const found = pods.find((pod) => pod.labels.app === app);
  if (found === undefined) throw new Error(`no pod of ${app}`);
  return found;
}
