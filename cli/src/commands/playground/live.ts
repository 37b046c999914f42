/** A playground while it lives: until Ctrl-C, or until a part of it fails. */
import { deployMesh } from "../../../../playground/src/mesh.ts";
import { type Playground, startPlayground } from "../../../../playground/src/playground.ts";
import { isEnding } from "../../../../playground/src/state.ts";
import type { Context } from "../../frame/context.ts";
import { EXIT } from "../../frame/errors.ts";

export interface UpOptions {
  readonly name: string;
  readonly nodes: number;
  readonly apiPort: number;
  readonly hasMesh: boolean;
}

export async function up(context: Context, { name, nodes, apiPort, hasMesh }: UpOptions): Promise<number> {
  const begun = performance.now();
  const elapsed = () => `${((performance.now() - begun) / 1000).toFixed(1)} s`;
  const playground = await startPlayground({ name, nodes, apiPort, report: context.note });
  try {
    context.out(
      `playground ${name} is up after ${elapsed()}: ${nodes} nodes, API at https://127.0.0.1:${playground.api.port}\n`,
    );
    return await live(playground, context, hasMesh, elapsed);
  } finally {
    await playground.stop();
  }
}

async function live(
  playground: Playground,
  context: Context,
  hasMesh: boolean,
  elapsed: () => string,
): Promise<number> {
  const say = (text: string) => context.out(`${text}\n`);
  const end = untilEnd(playground, context);
  if (hasMesh) {
    const mesh = await Promise.race([deployMesh(playground), end]);
    if (typeof mesh === "number") return mesh;
    say(`the mesh is ready after ${elapsed()}`);
    for (const [node, { metrics }] of mesh.agents)
      say(`  metrics of ${node}: http://127.0.0.1:${metrics.port}/metrics`);
  }
  say(`  export KUBECONFIG=${playground.kubeconfig}`);
  say("Ctrl-C ends it.");
  return end;
}

/** Waits for a signal, or for a part of the playground to fail. */
async function untilEnd(playground: Playground, { signal, out, note }: Context): Promise<number> {
  const signalled = new Promise<undefined>((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
  const failure = await Promise.race([signalled, playground.failed]);
  if (failure === undefined) return EXIT.done;
  if (isEnding(playground.name)) {
    out(`playground ${playground.name} was ended from elsewhere\n`);
    return EXIT.done;
  }
  note(`weft: ${failure}`);
  return EXIT.failed;
}
