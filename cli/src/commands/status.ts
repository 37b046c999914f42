/** `weft status`: who is connected to the control plane, and who is in sync. */
import { askAll } from "../cluster/ask.ts";
import { agentPods, controlPods, type MeshPod, waypointPods } from "../cluster/mesh-pods.ts";
import { command } from "../frame/command.ts";
import type { Context } from "../frame/context.ts";
import { EXIT } from "../frame/errors.ts";
import { type ClientRow, type ControlSync, type SyncState, statusRows } from "../mesh/sync.ts";
import type { Palette } from "../output/colour.ts";
import type { Column } from "../output/table.ts";

export const statusCommand = command({
  name: "status",
  aliases: ["proxy-status", "ps"],
  summary: "show who is connected to the control plane, in sync, and in which version",
  description:
    "SYNC is synced when every response was taken, stale when one was not answered yet, refused when the client did not take resources (its reason is shown), and not connected for a pod of the mesh that no replica of the control plane knows.",
  cluster: true,
  output: ["table", "wide", "json", "yaml"],
  args: [{ name: "POD", optional: true, about: "only of this pod, POD or POD.NAMESPACE" }],
  exitCodes: [[EXIT.failed, "somebody is not connected or has refused resources"]],
  examples: [
    ["weft status", "Everybody"],
    ["weft status -o wide", "With what was sent and answered, type by type"],
    ["weft ps waypoint-7d9f.shop", "One pod, as users of istioctl type it"],
  ],
  run: async (context, { args }) => {
    const pods = await meshPods(context);
    const controls = await controlPods(context);
    const { answers, failed } = await askAll(context, controls, (port) => port.json<ControlSync>("/debug/syncz"));
    const [only] = args;
    const rows = statusRows(
      answers.map(([pod, sync]) => ({ pod: pod.name, sync })),
      pods,
    ).filter(({ name, namespace }) => only === undefined || only === name || only === `${name}.${namespace}`);
    context.print.rows(rows, columns(context.paint), "nobody is connected");
    for (const { name, error } of rows) if (error !== undefined) context.note(`${name} refused: ${error}`);
    const bad = rows.filter(({ sync }) => sync === "not connected" || sync === "refused");
    return failed === 0 && bad.length === 0 ? EXIT.done : EXIT.failed;
  },
});

async function meshPods(context: Context): Promise<readonly MeshPod[]> {
  const [agents, waypoints] = await Promise.all([agentPods(context), waypointPods(context, undefined)]);
  return [...agents, ...waypoints];
}

function columns(paint: Palette): readonly Column<ClientRow>[] {
  const colours: Record<SyncState, (text: string) => string> = {
    synced: paint.good,
    stale: paint.warn,
    refused: paint.bad,
    "not connected": paint.bad,
  };
  return [
    { title: "NAME", of: ({ name, namespace }) => `${name}.${namespace}` },
    { title: "KIND", of: ({ kind }) => kind },
    { title: "NODE", of: ({ node }) => node },
    { title: "SYNC", of: ({ sync }) => colours[sync](sync) },
    { title: "CONTROL", of: ({ control }) => control },
    { title: "VERSION", of: ({ version }) => version },
    { title: "SINCE", of: ({ connected }) => connected, wide: true },
    {
      title: "TYPES",
      of: ({ types }) => types.map(({ type, sent, answered }) => `${type} ${answered}/${sent}`).join(", "),
      wide: true,
    },
  ];
}
