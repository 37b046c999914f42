/** Alternating rounds: no mesh and the paths through it take turns, so that what else the machine does hits all alike. */
import { busySeconds } from "./cpu-time.ts";
import type { Load, RunInClient, Sample } from "./loads.ts";
import { median } from "./stats.ts";

export interface Side {
  readonly client: RunInClient;
  readonly serverIp: string;
  /** Runs a round and rejects when its connections took another path than the side stands for. */
  readonly onPath?: (round: () => Promise<Sample>) => Promise<Sample>;
}

/** Medians over the rounds of one load on one side. */
export interface Measured {
  readonly value: number;
  /** CPU seconds of the whole machine per unit of work. */
  readonly cpuPerWork: number;
}

export interface Comparison {
  readonly load: Load["name"];
  readonly unit: string;
  readonly plain: Measured;
  /** The paths that were compared with no mesh, by name. */
  readonly paths: Readonly<Record<string, Measured>>;
}

export interface Rounds {
  readonly count: number;
  readonly seconds: number;
}

export async function compare(
  load: Load,
  plain: Side,
  paths: Readonly<Record<string, Side>>,
  { count, seconds }: Rounds,
): Promise<Comparison> {
  const turns = [plain, ...Object.values(paths)].map((side) => ({ side, samples: [] as CostedSample[] }));
  for (let round = 0; round < count; round++) {
    // The order turns over with each round: no side is always the one after another.
    for (const { side, samples } of round % 2 === 0 ? turns : turns.toReversed()) {
      const before = busySeconds();
      const run = (): Promise<Sample> => load.run(side.client, side.serverIp, seconds);
      const sample = await (side.onPath === undefined ? run() : side.onPath(run));
      samples.push({ ...sample, cpu: busySeconds() - before });
    }
  }
  const [first, ...others] = turns.map(({ samples }) => measured(samples));
  if (first === undefined) throw new RangeError("nothing was measured");
  const named = Object.keys(paths).map((name, i) => [name, others[i] ?? first] as const);
  return { load: load.name, unit: load.unit, plain: first, paths: Object.fromEntries(named) };
}

type CostedSample = Sample & { readonly cpu: number };

function measured(samples: readonly CostedSample[]): Measured {
  return {
    value: median(samples.map((sample) => sample.value)),
    cpuPerWork: median(samples.map((sample) => sample.cpu / Math.max(sample.work, 1))),
  };
}
