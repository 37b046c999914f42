import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { BedPod } from "../helpers/pod-bed.ts";
import { DirectBed, VIP4, VIP6 } from "./direct-bed.ts";
import type { FakeEndpoint } from "./fake-agent.ts";

/** A correct build fails less often than once in a million runs. */
const LEAST_P = 1e-6;
/** Port 7 answers when the agent has the connection, and the applications answer there too. */
const PORT = 7;

let bed: DirectBed;
let stranger: BedPod;

beforeAll(async () => {
  bed = await DirectBed.create(80);
  stranger = bed.capture.addPod();
  const serve = `in_background(tell_client, listener("::", ${PORT})); in_background(tell_client, listener("::", 8)); stay()`;
  await bed.capture.serve(bed.server, serve);
  await bed.capture.serve(stranger, serve);
  for (const port of [PORT, 8]) await bed.agent.setVerdict(bed.clientId, bed.serverId, port, true);
  await bed.agent.permitPlain(600_000);
});
beforeEach(async () => {
  await bed.agent.events();
  await bed.agent.chosen();
});
afterAll(async () => {
  await bed?.dispose();
});

/** How often each endpoint's key was chosen over so many connections, whoever carried them. */
async function choices(ip: string, connections: number): Promise<Map<number, number>> {
  const counts = new Map<number, number>();
  const add = (key: number, count: number) => counts.set(key, (counts.get(key) ?? 0) + count);
  // In parts, so that the ring holds every record.
  for (let left = connections; left > 0; left -= 2_000) {
    await bed.app(`for i in range(${Math.min(left, 2_000)}): assert len(dial("${ip}", ${PORT})) > 20\nshow(None)`);
    for (const record of await bed.ended(0)) add(record.endpoint, 1);
  }
  for (const [key, count] of await bed.agent.chosen()) add(key, count);
  return counts;
}

test("endpoints are chosen by weight, direct, plain and the agent's alike", async () => {
  const endpoints: FakeEndpoint[] = [
    { ip: bed.server.ip, port: PORT, pod: bed.serverId, weight: 1, key: 1 },
    { ip: bed.server.ip, port: 8, pod: bed.serverId, weight: 30, key: 2 },
    { ip: "10.77.1.1", port: 80, path: "agent", weight: 40, key: 3 },
    { ip: "10.77.1.2", port: 80, path: "agent", weight: 9, key: 4 },
    { ip: stranger.ip, port: PORT, path: "plain", weight: 20, key: 5 },
  ];
  await bed.agent.setRoute(bed.clientId, VIP4, PORT, endpoints);
  const counts = await choices(VIP4, 4_000);
  expect(total(counts), "every connection has a choice").toBe(4_000);
  expect(pValue(counts, endpoints), JSON.stringify([...counts])).toBeGreaterThan(LEAST_P);
});

test("the balance is the same when nothing is direct: an endpoint without a verdict is chosen as often", async () => {
  const weights = [5, 5, 5, 15, 70];
  const endpoints = weights.map((weight, i) => ({
    ip: bed.server.ip6,
    port: 20 + i,
    pod: bed.serverId,
    weight,
    key: i + 1,
  }));
  await bed.agent.setRoute(bed.clientId, VIP6, PORT, endpoints);
  const before = await bed.agent.count("no_verdict");
  const counts = await choices(VIP6, 3_000);
  expect((await bed.agent.count("no_verdict")) - before).toBe(3_000);
  expect(pValue(counts, endpoints), JSON.stringify([...counts])).toBeGreaterThan(LEAST_P);
});

test("two hundred endpoints and one are chosen by weights that differ by a thousand", async () => {
  const endpoints = Array.from({ length: 201 }, (_, i) => ({
    ip: bed.server.ip,
    port: 1_000 + i,
    pod: bed.serverId,
    weight: [1, 10, 100, 500, 1_000][i % 5] ?? 1,
    key: i + 1,
  }));
  await bed.agent.setRoute(bed.clientId, VIP4, 9, endpoints);
  // connect() that is refused by a verdict costs next to nothing, and its record has the choice.
  for (const { port } of endpoints) await bed.agent.setVerdict(bed.clientId, bed.serverId, port, false);
  const counts = new Map<number, number>();
  const rounds = 40;
  for (let round = 0; round < rounds; round += 1) {
    await bed.app(`for i in range(3000):
    s = stream(V4); assert s.connect_ex(("${VIP4}", 9)) == errno.ECONNREFUSED; s.close()
show(None)`);
    for (const { endpoint } of await bed.agent.events()) counts.set(endpoint, (counts.get(endpoint) ?? 0) + 1);
  }
  expect(total(counts)).toBe(rounds * 3_000);
  expect(pValue(counts, endpoints)).toBeGreaterThan(LEAST_P);
});

test("a route with one endpoint always chooses it", async () => {
  await bed.agent.setRoute(bed.clientId, VIP4, PORT, [{ ip: "10.77.1.1", port: 80, path: "agent", key: 9 }]);
  expect(await choices(VIP4, 50)).toEqual(new Map([[9, 50]]));
});

test("the test itself tells a wrong balance: 4,000 even choices do not pass for 5 to 4", () => {
  const counts = new Map([1, 2, 3, 4, 5].map((key) => [key, 800]));
  const uneven = [5, 5, 5, 5, 4].map((weight, i) => ({ ip: "", port: 1, key: i + 1, weight }));
  expect(pValue(counts, uneven)).toBeLessThan(LEAST_P * 100);
  expect(
    pValue(
      counts,
      uneven.map((endpoint) => ({ ...endpoint, weight: 1 })),
    ),
  ).toBe(1);
});

function total(counts: ReadonlyMap<number, number>): number {
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}

/** Pearson's chi-square: how likely a balance at least this far off is. For an odd number of endpoints. */
function pValue(counts: ReadonlyMap<number, number>, endpoints: readonly FakeEndpoint[]): number {
  const weights = endpoints.reduce((sum, { weight = 1 }) => sum + weight, 0);
  const statistic = endpoints.reduce((sum, { key = 0, weight = 1 }) => {
    const expected = (total(counts) * weight) / weights;
    return sum + ((counts.get(key) ?? 0) - expected) ** 2 / expected;
  }, 0);
  const freedom = endpoints.length - 1;
  if (freedom % 2 !== 0) throw new Error("the sum below is for an even number of degrees of freedom");
  // With an even number the distribution's tail is a finite sum; by logarithms, since its terms are large.
  const half = statistic / 2;
  let logTerm = -half;
  let tail = Math.exp(logTerm);
  for (let i = 1; i < freedom / 2; i += 1) {
    logTerm += Math.log(half / i);
    tail += Math.exp(logTerm);
  }
  return tail;
}
