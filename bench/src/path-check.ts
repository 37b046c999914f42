/** Whether connections took the path that a side stands for, by the counters of the agent of their node. */
import { sumOf } from "../../demo/src/metrics-text.ts";
import type { StageNode } from "../../demo/src/stage.ts";

/** Labels of what BPF counts (bpf/include/weft_reasons.h). */
export type PathCounter = "captured_outbound" | "direct" | "redirected" | "express";

const COUNTERS: readonly PathCounter[] = ["captured_outbound", "direct", "redirected", "express"];

/** Counters that rise with connections on a path. All others stand still. */
export const PATHS: Readonly<Record<"tunnel" | "direct" | "redirect" | "express", readonly PathCounter[]>> = {
  tunnel: ["captured_outbound"],
  direct: ["direct"],
  redirect: ["direct", "redirected"],
  express: ["direct", "redirected", "express"],
};

export type Counts = Readonly<Record<PathCounter, number>>;

export async function pathCounts(node: StageNode): Promise<Counts> {
  const samples = await node.metrics();
  const count = (reason: PathCounter): number => sumOf(samples, "weft_reasons_total", { plane: "bpf", reason });
  return Object.fromEntries(COUNTERS.map((reason) => [reason, count(reason)])) as Counts;
}

/** What is wrong, for people; undefined when exactly the counters of the path have risen. */
export function strayed(path: keyof typeof PATHS, before: Counts, after: Counts): string | undefined {
  const wrong = COUNTERS.filter((counter) => PATHS[path].includes(counter) !== after[counter] > before[counter]);
  if (wrong.length === 0) return undefined;
  const list = COUNTERS.map((counter) => `${counter} +${after[counter] - before[counter]}`).join(", ");
  return `connections strayed from the path ${path}: ${list}`;
}

/** Runs `round` and rejects when its connections took another path. */
export async function onPath<T>(path: keyof typeof PATHS, node: StageNode, round: () => Promise<T>): Promise<T> {
  const before = await pathCounts(node);
  const result = await round();
  const trouble = strayed(path, before, await pathCounts(node));
  if (trouble !== undefined) throw new Error(trouble);
  return result;
}
