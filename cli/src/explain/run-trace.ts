/** Carries `weft trace` out. */

import type { Context } from "../frame/context.ts";
import { EXIT } from "../frame/errors.ts";
import { livePictures } from "./live.ts";
import { findDestination, findSource } from "./parties.ts";
import { PATHS, trace, type Way } from "./trace.ts";

export async function runTrace(context: Context, args: readonly string[]): Promise<number> {
  const [from = "", to = ""] = args;
  const { now } = await livePictures(context, []);
  const namespace = context.namespace() ?? "default";
  const source = findSource(now, from, namespace);
  const destination = findDestination(now, to, namespace, source);
  const ways = trace({ picture: now, source, destination, request: undefined });
  if (context.print.isData) context.print.data(ways);
  else context.out(ways.map((way) => wayText(way, context)).join("\n"));
  return EXIT.done;
}

const OUTCOMES: Readonly<Record<Way["outcome"], "good" | "bad" | "warn">> = {
  reached: "good",
  denied: "bad",
  refused: "warn",
  depends: "warn",
};

function wayText({ path, to, protection, hops, outcome }: Way, { paint }: Context): string {
  const how = protection.length === 0 ? "" : `, ${protection.join(", then ")}`;
  const lines = [
    `${paint.strong(`${path} (${PATHS[path]})`)} to ${to}${how}: ${paint[OUTCOMES[outcome]](outcome)}`,
    ...hops.map(({ at, what, why }, i) => `  ${i + 1}. ${at} ${what}\n     ${paint.faint(`because ${why}`)}`),
  ];
  return `${lines.join("\n")}\n`;
}
