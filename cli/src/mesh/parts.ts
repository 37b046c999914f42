/** Which pods of the mesh somebody means: a part of it, or a pod. */
import { agentPods, controlPods, type MeshPod, waypointPods } from "../cluster/mesh-pods.ts";
import type { Context } from "../frame/context.ts";
import { Failure } from "../frame/errors.ts";

export const PARTS_ARGUMENT = {
  name: "PART",
  optional: true,
  about: "agents, control or waypoints; or a waypoint or pod by NAME or NAME.NAMESPACE (default: all parts)",
};

/** Throws Failure when nothing is meant by `part`. */
export async function podsOfPart(
  context: Context,
  part: string | undefined,
  node?: string,
): Promise<readonly MeshPod[]> {
  const found = await candidates(context, part);
  const chosen = found.filter((pod) => node === undefined || pod.node === node);
  if (chosen.length > 0) return chosen;
  const where = node === undefined ? "" : ` on node "${node}"`;
  throw new Failure(`there is no ${part ?? "part of the mesh"}${where}`, "weft status shows who there is");
}

async function candidates(context: Context, part: string | undefined): Promise<readonly MeshPod[]> {
  switch (part) {
    case "agent":
    case "agents":
    case "ztunnel":
      return agentPods(context);
    case "control":
    case "istiod":
      return controlPods(context);
    case "waypoint":
    case "waypoints":
      return waypointPods(context, context.givenNamespace);
    case undefined:
      return allPods(context);
    default:
      return (await allPods(context)).filter((pod) => isMeant(pod, part));
  }
}

async function allPods(context: Context): Promise<readonly MeshPod[]> {
  const [control, agents, waypoints] = await Promise.all([
    controlPods(context),
    agentPods(context),
    waypointPods(context, context.givenNamespace),
  ]);
  return [...control, ...agents, ...waypoints];
}

/** `NAME`, `NAME.NAMESPACE`, `deploy/NAME` or `pod/NAME`, of the pod or of a waypoint's Gateway. */
export function isMeant(pod: MeshPod, text: string): boolean {
  const [name = "", namespace] = text.replace(/^(deploy(ment)?|pods?|gateway)\//, "").split(".");
  const names = pod.gateway === undefined ? [pod.name] : [pod.name, pod.gateway];
  return names.includes(name) && (namespace === undefined || namespace === pod.namespace);
}
