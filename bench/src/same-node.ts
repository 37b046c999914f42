/** Pods of one node: without a mesh, direct, direct with peer redirect, express. */
import { eventually } from "#lib/eventually.ts";
import type { Stage } from "../../demo/src/stage.ts";
import { type BenchPods, deployPods } from "./bench-pods.ts";
import { putFilterBeside } from "./bystander.ts";
import { LOADS, type Sample } from "./loads.ts";
import { onPath, type PATHS } from "./path-check.ts";
import type { Side } from "./rounds.ts";

type SameNodePath = Exclude<keyof typeof PATHS, "tunnel">;

const EXPRESS = { "weft.dev/express": "enabled" };
/** The agent compiles a route at the first connection, and looks for other programs on devices every now and then. */
const WARM_MS = 30_000;
const WARM_SECONDS = 1;

export interface SameNode {
  /** Without those that this kernel does not offer. */
  readonly sides: Readonly<Partial<Record<SameNodePath, Side>>>;
  readonly direct: BenchPods;
}

/**
 * `mesh`: the pods that the tunnel is measured with. Returns when each pair's connections take its path; `missing` is
 * told of a path that they do not come to take.
 */
export async function deploySameNode(
  stage: Stage,
  peer: string,
  mesh: BenchPods,
  missing: (why: string) => void,
): Promise<SameNode> {
  const [node] = stage.nodes;
  if (node === undefined) throw new Error("a node is needed");
  const direct = await deployPods(stage, "bench-direct", peer, { enrolled: true });
  await putFilterBeside(stage, node, direct.nearPod);
  const express = await deployPods(stage, "bench-express", peer, { enrolled: true, annotations: EXPRESS });
  const pods = { direct, redirect: mesh, express } as const;
  const sides: Partial<Record<SameNodePath, Side>> = {};
  for (const path of ["direct", "redirect", "express"] as const) {
    const side: Side = { ...pods[path].near, onPath: (round) => onPath(path, node, round) };
    try {
      await warm(path, side);
      sides[path] = side;
    } catch (error) {
      missing(error instanceof Error ? error.message : String(error));
    }
  }
  return { sides, direct };
}

/** Every load once, until its connections take the path: the first one to a destination asks the agent. */
async function warm(path: SameNodePath, side: Side): Promise<void> {
  for (const load of LOADS) {
    const round = (): Promise<Sample> => load.run(side.client, side.serverIp, WARM_SECONDS);
    await eventually(
      `${load.name} takes the path ${path}`,
      async () => (await side.onPath?.(round)) !== undefined,
      WARM_MS,
    );
  }
}
