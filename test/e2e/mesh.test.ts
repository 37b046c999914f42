/**
 * What the mesh promises, on a playground of two nodes with the real control plane and agents. One start for all: the
 * groups run in this order, and each leaves the cluster as it found it.
 */
import { afterAll, beforeAll } from "vitest";
import { Claims } from "../../demo/src/claims.ts";
import { Layout } from "../../demo/src/layout.ts";
import { startStage } from "../../demo/src/playground-stage.ts";
import type { Stage } from "../../demo/src/stage.ts";
import { type Cast, deploy } from "../../demo/src/story.ts";
import { lifecycle } from "./lifecycle.ts";
import { names } from "./names.ts";
import { policies } from "./policies.ts";
import { wire } from "./wire.ts";

export interface Scene {
  readonly stage: Stage;
  readonly cast: Cast;
}

let scene: Scene | undefined;

beforeAll(async () => {
  const stage = await startStage("e2e");
  try {
    const claims = new Claims(() => {});
    const cast = await deploy({ stage, claims, layout: new Layout(false), say: () => {} });
    if (claims.failed.length > 0) throw new Error(claims.failed.map(({ text, seen }) => `${text}: ${seen}`).join("\n"));
    scene = { stage, cast };
  } catch (error) {
    await stage.down();
    throw error;
  }
});

afterAll(async () => {
  await scene?.stage.down();
});

function current(): Scene {
  if (scene === undefined) throw new Error("the playground did not start");
  return scene;
}

wire(current);
names(current);
policies(current);
lifecycle(current);
