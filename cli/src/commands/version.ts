/** `weft version`: of this program, and of every part of the mesh. */
import { VERSION } from "#lib/version.ts";
import { askAll } from "../cluster/ask.ts";
import { agentPods, controlPods, type MeshPod, waypointPods } from "../cluster/mesh-pods.ts";
import { command } from "../frame/command.ts";
import type { Context } from "../frame/context.ts";
import { EXIT } from "../frame/errors.ts";

interface PartVersions {
  readonly part: string;
  readonly version: string;
  readonly count: number;
}

export const versionCommand = command({
  name: "version",
  summary: "show the versions of this program, the control plane and the data plane",
  cluster: true,
  output: ["table", "json", "yaml"],
  flags: { client: { type: "boolean", about: "only of this program; no cluster is asked" } },
  examples: [
    ["weft version", "Everything that runs"],
    ["weft version --client", "Only this program"],
  ],
  run: async (context, { flags }) => {
    const client: PartVersions = { part: "client", version: VERSION, count: 1 };
    const { parts, failed } = flags.client ? { parts: [], failed: 0 } : await meshVersions(context);
    context.print.rows(
      [client, ...parts],
      [
        { title: "PART", of: ({ part }) => part },
        { title: "VERSION", of: ({ version }) => version },
        { title: "COUNT", of: ({ count }) => count },
      ],
      "",
    );
    return failed === 0 ? EXIT.done : EXIT.failed;
  },
});

async function meshVersions(context: Context): Promise<{ parts: PartVersions[]; failed: number }> {
  const [control, agents, waypoints] = await Promise.all([
    controlPods(context),
    agentPods(context),
    waypointPods(context, undefined),
  ]);
  const parts: PartVersions[] = [];
  let failed = 0;
  for (const [part, pods] of [
    ["control plane", control],
    ["agent", agents],
    ["waypoint", waypoints],
  ] as const) {
    const counts = await countVersions(context, pods);
    failed += counts.failed;
    for (const [version, count] of counts.versions) parts.push({ part, version, count });
  }
  return { parts, failed };
}

async function countVersions(context: Context, pods: readonly MeshPod[]) {
  const { answers, failed } = await askAll(context, pods, (port) => port.json<{ version: string }>("/version"));
  const versions = new Map<string, number>();
  for (const [, { version }] of answers) versions.set(version, (versions.get(version) ?? 0) + 1);
  return { versions, failed };
}
