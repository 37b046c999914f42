/** `weft authz check`: the policies that are in force for a pod or a Service. */
import type { PolicyOpinion } from "../../explain/checkpoint.ts";
import { policiesAtAgent, policiesAtWaypoint } from "../../explain/in-force.ts";
import { livePictures } from "../../explain/live.ts";
import { findParty } from "../../explain/parties.ts";
import type { MeshPicture } from "../../explain/picture.ts";
import { command } from "../../frame/command.ts";

interface Row extends PolicyOpinion {
  /** With files: whether it comes or goes with them. */
  readonly change: "" | "added" | "removed" | "changed";
}

export const checkCommand = command({
  name: "check",
  summary: "list the policies that are in force for a pod or a Service",
  description:
    "L4 policies are enforced by the agent of the pod's node, L7 ones by the waypoint that the Service is behind. With -f the list is the one that would be, and says what is added, changed and removed.",
  args: [{ name: "NAME", about: "pod or Service: web-1, pod/shop/web-1, svc/db" }],
  flags: {
    file: { type: "string", short: "f", multiple: true, value: "FILE", about: "manifests that are not applied yet" },
  },
  cluster: true,
  output: ["table", "wide", "json", "yaml"],
  examples: [
    ["weft authz check web-1 -n shop", "Of a pod"],
    ["weft authz check svc/reviews -n bookinfo -o wide", "Of a Service and its pods, with what the rules ask for"],
    ["weft authz check web-1 -f new-policy.yaml", "As it would be with a file"],
  ],
  run: async (context, { args, flags }) => {
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
    return undefined;
  },
});

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
