/** Alternating rounds: no mesh and mesh take turns, so that what else the machine does hits both alike. */
import { busySeconds } from "./cpu-time.ts";
import type { Load, RunInClient, Sample } from "./loads.ts";
import { median } from "./stats.ts";

export interface Side {
  readonly client: RunInClient;
  readonly serverIp: string;
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
  readonly mesh: Measured;
}

export async function compare(
  load: Load,
  plain: Side,
  mesh: Side,
  rounds: number,
  seconds: number,
): Promise<Comparison> {
  const samples: Record<"plain" | "mesh", (Sample & { cpu: number })[]> = { plain: [], mesh: [] };
  for (let round = 0; round < rounds; round++) {
    // The order turns over with each round: neither side is always the one after the other.
    const order = round % 2 === 0 ? (["plain", "mesh"] as const) : (["mesh", "plain"] as const);
    for (const name of order) {
      const side = name === "plain" ? plain : mesh;
      const before = busySeconds();
      const sample = await load.run(side.client, side.serverIp, seconds);
      samples[name].push({ ...sample, cpu: busySeconds() - before });
    }
  }
  return { load: load.name, unit: load.unit, plain: measured(samples.plain), mesh: measured(samples.mesh) };
}

function measured(samples: readonly (Sample & { readonly cpu: number })[]): Measured {
  return {
    value: median(samples.map((sample) => sample.value)),
    cpuPerWork: median(samples.map((sample) => sample.cpu / Math.max(sample.work, 1))),
  };
}
