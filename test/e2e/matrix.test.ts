/**
 * Every combination of the design's table of paths, with real agents and a real control plane: who is reached, by which
 * path, with which identity in the logs and in the metrics.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { accessFromKubeconfig } from "#lib/kube/access.ts";
import { KubeClient } from "#lib/kube/client.ts";
import { startStage } from "../../demo/src/playground-stage.ts";
import type { Stage } from "../../demo/src/stage.ts";
import {
  countComplaints,
  type Dialled,
  endComplaints,
  expectedCounts,
  lineComplaints,
  seenCounts,
} from "./matrix-check.ts";
import { AXES, allCases, type Case, expected, type Turn } from "./matrix-table.ts";
import { buildWorld, dial, setRules, targetOf, type Vips, type World } from "./matrix-world.ts";

/** Requests of each round have lengths of their own. */
const FIRST_BYTES = 200;
/** A round of 72 takes a second, many times that on a busy machine. */
const SETTLE_MS = 60_000;
/** Looks with growing pauses; the agent writes its lines within 50 ms. */
const LOOKS_AT_REST = 5;

let stage: Stage;
let world: World;
let vips: Vips;
let nextBytes = FIRST_BYTES;

beforeAll(async () => {
  stage = await startStage("matrix");
  world = await buildWorld(stage);
  vips = await readVips();
});

afterAll(async () => {
  await stage?.down();
});

describe("every path of the design's table", () => {
  it("has 576 combinations", () => {
    expect(allCases()).toHaveLength(576);
  });

  it("the first connection of a pod to a destination goes through the agent, later ones need it no more", async () => {
    await setRules(stage, world, "PERMISSIVE", "none");
    const fresh = phase("PERMISSIVE", "none").filter(
      ({ source, family, target }) => source === "enrolled" && family !== "mapped" && target !== "headless",
    );
    await settled(
      fresh.filter(({ place }) => place === "other node"),
      "later",
    );
    const near = fresh.filter(({ place }) => place === "same node");
    const all = await round(near, "first");
    expect(all.flatMap((one) => endComplaints(one, world))).toEqual([]);
    await settled(near, "later");
  });

  for (const mtls of AXES.mtls) {
    for (const policy of AXES.policy) {
      const cases = phase(mtls, policy);
      it(`${mtls}, ${policy}: ${cases.length} connections, each by its path`, async () => {
        await setRules(stage, world, mtls, policy);
        await settled(cases, "later");
        const lineCounts = await restingLogs();
        const before = await counts();
        const all = await round(cases, "later");
        expect(all.flatMap((one) => endComplaints(one, world))).toEqual([]);
        await eventually(
          "the agents tell of all of them",
          async () => {
            const fresh = (await logs()).map(([node, lines]) => [node, lines.slice(lineCounts.get(node))] as const);
            fail(lineComplaints(all, new Map(fresh), world));
            fail(countComplaints(expectedCounts(all, world), before, await counts()));
            return true;
          },
          SETTLE_MS,
        );
        const pods = (await Promise.all(["inside", "outside"].map((each) => stage.pods(each)))).flat();
        expect(
          pods.filter(({ ready }) => !ready),
          "probes pass, also under STRICT",
        ).toEqual([]);
      });
    }
  }
});

function phase(mtls: Case["mtls"], policy: Case["policy"]): Case[] {
  return allCases().filter((one) => one.mtls === mtls && one.policy === policy);
}

/** Repeats the round until every end is as it should be: changes of rules take a moment to arrive. */
async function settled(cases: readonly Case[], turn: Turn): Promise<void> {
  await eventually(
    "every connection takes its path",
    async () => {
      fail((await round(cases, turn)).flatMap((one) => endComplaints(one, world)));
      return true;
    },
    SETTLE_MS,
  );
}

async function round(cases: readonly Case[], turn: Turn): Promise<Dialled[]> {
  const bytes = new Map(cases.map((one) => [one, nextBytes++]));
  const bySource = AXES.source.map(async (source) => {
    const own = cases.filter((one) => one.source === source);
    const targets = own.map((one) => targetOf(one, world, vips, bytes.get(one) ?? 0));
    const results = await dial(stage, world.clients[source], targets);
    return own.map((one, i) => {
      const result = results[i];
      if (result === undefined) throw new Error("the dialler left one out");
      return { one, must: expected(one, turn), result, bytes: bytes.get(one) ?? 0 };
    });
  });
  return (await Promise.all(bySource)).flat();
}

function fail(complaints: readonly string[]): void {
  if (complaints.length > 0) throw new Error(`${complaints.length} differ:\n${complaints.slice(0, 12).join("\n")}`);
}

/** How many lines each log has, once the last ones of earlier rounds are in. */
async function restingLogs(): Promise<ReadonlyMap<string, number>> {
  let before = "";
  let same = 0;
  return eventually("the logs come to rest", async () => {
    const lengths = (await logs()).map(([node, lines]) => [node, lines.length] as const);
    const now = JSON.stringify(lengths);
    same = now === before ? same + 1 : 0;
    before = now;
    return same >= LOOKS_AT_REST && new Map(lengths);
  });
}

function logs() {
  return Promise.all(stage.nodes.map(async (node) => [node.name, await node.accessLog()] as const));
}

async function counts(): Promise<Map<string, number>> {
  const all = await Promise.all(stage.nodes.map(async (node) => seenCounts(node.name, await node.metrics())));
  return new Map(all.flatMap((one) => [...one]));
}

async function readVips(): Promise<Vips> {
  const client = new KubeClient(accessFromKubeconfig(stage.kubeconfig));
  try {
    const type = { group: "", version: "v1", kind: "Service", plural: "services", namespaced: true };
    const lists = await Promise.all(["inside", "outside"].map((namespace) => client.list(type, { namespace })));
    return new Map(
      lists
        .flatMap(({ items }) => items)
        .map(({ metadata, ...rest }) => {
          const { clusterIPs } = (rest as unknown as { spec: { clusterIPs: string[] } }).spec;
          return [`${metadata.namespace}/${metadata.name}`, clusterIPs] as const;
        }),
    );
  } finally {
    client.close();
  }
}
