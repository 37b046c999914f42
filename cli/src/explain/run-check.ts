/** Carries `weft authz check` out. */

import type { Context } from "../frame/context.ts";
import { EXIT } from "../frame/errors.ts";
import type { PolicyOpinion } from "./checkpoint.ts";
import { policiesAtAgent, policiesAtWaypoint } from "./in-force.ts";
import { livePictures } from "./live.ts";
import { findParty } from "./parties.ts";
import type { MeshPicture } from "./picture.ts";

interface Row extends PolicyOpinion {
  /** With files: whether it comes or goes with them. */
  readonly change: "" | "added" | "removed" | "changed";
}

export async function runCheck(
  context: Context,
  args: readonly string[],
  flags: { readonly file: readonly string[] },
): Promise<number> {
  const [name = ""] = args;
  const { now, later } = await livePictures(context, flags.file);
  const namespace = context.namespace() ?? "default";
  const before = inForce(now, name, namespace);
  const rows = later === undefined ? before.map(unchanged) : compared(before, inForce(later, name, namespace));
  context.print.rows(
    rows,
    [
      ...(later === undefined ? [] : [{ title: "CHANGE", of: ({ change }: Row) => change }]),
      { title: "LAYER", of: ({ layer }) => layer },
      { title: "ACTION", of: ({ action, dryRun }) => (dryRun ? `${action} (dry run)` : action) },
      { title: "POLICY", of: (row) => row.name },
      { title: "SCOPE", of: ({ scope }) => scope },
      { title: "RULES", of: ({ rules }) => rules.length },
      { title: "ASKS FOR", of: ({ rules }) => rules.join("; "), wide: true },
      { title: "REMARK", of: ({ remark }) => remark },
    ],
    `no policy is in force for ${name}: everybody may connect`,
  );
  return EXIT.done;
}

function inForce(picture: MeshPicture, text: string, namespace: string): PolicyOpinion[] {
  const { service, pods } = findParty(picture, text, namespace);
  const opinions = service === undefined ? [] : policiesAtWaypoint(picture, service);
  for (const pod of pods) {
    const view = picture.agent(pod.spec?.nodeName ?? "");
    const workload = picture.workloadOf(pod, view);
    if (workload !== undefined) opinions.push(...policiesAtAgent(picture, view, workload));
  }
  return [...new Map(opinions.map((opinion) => [identityOf(opinion), opinion])).values()];
}

function identityOf({ layer, name }: PolicyOpinion): string {
  return `${layer} ${name}`;
}

function unchanged(opinion: PolicyOpinion): Row {
  return { ...opinion, change: "" };
}

function compared(before: readonly PolicyOpinion[], after: readonly PolicyOpinion[]): Row[] {
  const was = new Map(before.map((opinion) => [identityOf(opinion), opinion]));
  const is = new Set(after.map(identityOf));
  const kept = after.map((opinion): Row => {
    const old = was.get(identityOf(opinion));
    if (old === undefined) return { ...opinion, change: "added" };
    return { ...opinion, change: JSON.stringify(old) === JSON.stringify(opinion) ? "" : "changed" };
  });
  const removed = before.filter((opinion) => !is.has(identityOf(opinion)));
  return [...kept, ...removed.map((opinion): Row => ({ ...opinion, change: "removed" }))];
}
