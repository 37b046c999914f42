/** The direct path beside the tunnel: one service with endpoints on both nodes, and the death of one node's agent. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { sumOf } from "../../demo/src/metrics-text.ts";
import { startStage } from "../../demo/src/playground-stage.ts";
import type { Stage, StagePod } from "../../demo/src/stage.ts";
import { SETTLE_MS } from "./calls.ts";
import { countBy, disagreement } from "./chi-square.ts";
import { clientText, namespaceText, serverText, serviceText } from "./pod-manifests.ts";
import { PodProgram, programArgv } from "./pod-program.ts";
import type { DialTarget } from "./programs/dial.ts";
import type { Attempt } from "./programs/looper.ts";

const NAMESPACE = "shop";
const PORT = 8080;
const MARKER = "marker-of-the-two-nodes";
const BALANCED = 600;
const STRICT = `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: ${NAMESPACE}}
spec: {mtls: {mode: STRICT}}
`;

let stage: Stage;
let pods: ReadonlyMap<string, StagePod>;

beforeAll(async () => {
  stage = await startStage("twonodes");
  const [first, second] = stage.nodes.map(({ name }) => name);
  if (first === undefined || second === undefined) throw new Error("two nodes are needed");
  const place = (name: string, node: string) => ({ namespace: NAMESPACE, name, node });
  await stage.apply(
    [
      namespaceText(NAMESPACE, true),
      clientText(place("client-1", first)),
      clientText(place("client-2", second)),
      ...["web-1a", "web-1b"].map((name) => serverText(place(name, first), "web", PORT)),
      ...["web-2a", "web-2b"].map((name) => serverText(place(name, second), "web", PORT)),
      serviceText(NAMESPACE, "web", "app: web", { port: 80, targetPort: PORT }),
      serviceText(NAMESPACE, "far", `app: web, node: ${second}`, { port: 80, targetPort: PORT }),
    ].join("---\n"),
  );
  pods = await eventually(
    "every pod is ready and enrolled",
    async () => {
      const all = await stage.pods(NAMESPACE);
      return all.length === 6 && all.every(({ ready, enrolled }) => ready && enrolled) && byName(all);
    },
    60_000,
  );
});

afterAll(async () => {
  await stage?.down();
});

function byName(all: readonly StagePod[]): ReadonlyMap<string, StagePod> {
  return new Map(all.map((each) => [each.name, each]));
}

function pod(name: string): StagePod {
  const found = pods.get(name);
  if (found === undefined) throw new Error(`no pod ${name}`);
  return found;
}

function target(host: string, port = PORT): DialTarget {
  return { id: MARKER, host, port, family: 4, mapped: false, bytes: 64, looks: false };
}

async function loop(from: StagePod, to: DialTarget, ...times: string[]): Promise<PodProgram<Attempt>> {
  return new PodProgram<Attempt>(await stage.start(from, programArgv("looper", JSON.stringify(to), ...times)));
}

async function attempts(from: StagePod, to: DialTarget, times: number): Promise<readonly Attempt[]> {
  const program = await loop(from, to, String(times));
  await eventually("all attempts", () => program.lines.length === times, 60_000);
  return program.stop();
}

describe("peer redirect", () => {
  it("is on for every pod of a playground, and taken by direct connections", async () => {
    const samples = async () => (await Promise.all(stage.nodes.map((node) => node.metrics()))).flat();
    expect(sumOf(await samples(), "weft_redirected_pods", {})).toBe(pods.size);
    const near = target(pod("web-1a").ip);
    await eventually("a direct connection", async () => (await attempts(pod("client-1"), near, 1))[0]?.direct);
    const redirected = async (): Promise<number> =>
      sumOf(await samples(), "weft_reasons_total", { plane: "bpf", reason: "redirected" });
    const before = await redirected();
    await attempts(pod("client-1"), near, 10);
    await eventually("ten more", async () => (await redirected()) === before + 10);
  });
});

describe("a service with endpoints on both nodes", () => {
  for (const number of [1, 2]) {
    it(`gives client-${number} each of them as often, and its own node's directly`, async ({ annotate }) => {
      const client = pod(`client-${number}`);
      const web = target(`web.${NAMESPACE}.svc.cluster.local`, 80);
      const isLocal = ({ server }: Attempt): boolean => server?.startsWith(`${NAMESPACE}/web-${number}`) === true;
      await eventually(
        "local endpoints are reached directly",
        async () => (await attempts(client, web, 20)).every((one) => one.direct === isLocal(one)),
        SETTLE_MS,
      );
      const all = await attempts(client, web, BALANCED);
      expect(all.filter(({ outcome }) => outcome !== "reached")).toEqual([]);
      expect(all.filter((one) => one.direct !== isLocal(one))).toEqual([]);
      const counts = countBy(all, ({ server }) => server ?? "");
      await annotate(JSON.stringify([...counts].sort()));
      const even = Object.fromEntries(["1a", "1b", "2a", "2b"].map((each) => [`${NAMESPACE}/web-${each}`, 1]));
      expect(disagreement(counts, even)).toBeUndefined();
    });
  }
});

describe("a service with endpoints on the other node only", () => {
  it("is balanced by the agent, as evenly", async ({ annotate }) => {
    const all = await attempts(pod("client-1"), target(`far.${NAMESPACE}.svc.cluster.local`, 80), BALANCED / 2);
    expect(all.filter(({ outcome, direct }) => outcome !== "reached" || direct)).toEqual([]);
    const counts = countBy(all, ({ server }) => server ?? "");
    await annotate(JSON.stringify([...counts].sort()));
    expect(disagreement(counts, { [`${NAMESPACE}/web-2a`]: 1, [`${NAMESPACE}/web-2b`]: 1 })).toBeUndefined();
  });
});

describe("the death of a node's agent", () => {
  it("interrupts no direct traffic, lets nothing out in the clear and un-enrols nobody", async ({ annotate }) => {
    await stage.apply(STRICT);
    const [client, near, far] = [pod("client-1"), pod("web-1a"), pod("web-2a")];
    const node = stage.nodes.find(({ name }) => name === client.node);
    if (node === undefined) throw new Error("the client's node is needed");
    const before = await node.agentPid();
    const report = await stage.listenOnWire(MARKER, async () => {
      const direct = await loop(client, target(near.ip));
      const tunnelled = await loop(client, target(far.ip));
      await direct.when("a direct connection", (one) => one.direct);
      await tunnelled.when("a tunnelled connection", ({ outcome }) => outcome === "reached");
      process.kill(before, "SIGKILL");
      const [died, diedFar] = [direct.lines.length, tunnelled.lines.length];
      await eventually("an attempt without an agent fails", () =>
        tunnelled.lines.slice(diedFar).some(({ outcome }) => outcome !== "reached"),
      );
      const enrolled = (await stage.pods(NAMESPACE)).filter((each) => each.enrolled).length;
      expect(enrolled, "nobody is un-enrolled").toBe(6);
      await eventually(
        "the tunnel is back",
        () => tunnelled.lines.at(-1)?.outcome === "reached" && tunnelled.lines.length > diedFar + 20,
        60_000,
      );
      const back = direct.lines.length;
      await eventually("direct connections with the next agent", () => direct.lines.length > back + 100, SETTLE_MS);
      const lines = (await direct.stop()).slice(died);
      await tunnelled.stop();
      await annotate(`${lines.length} direct connections over death and restart`);
      const first = direct.lines.findIndex((one) => one.direct);
      const bad = direct.lines.slice(first).filter((one) => one.outcome !== "reached" || !one.direct);
      expect(bad).toEqual([]);
    });
    expect(report).toMatchObject({ lost: 0, markerPackets: 0 });
    expect(await node.agentPid()).not.toBe(before);
    await stage.remove(STRICT);
  });
});
