/** Who is asked: hashes, localities, warm-up, ejection and pools, from the resource to which server a request reaches. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { NODES } from "#lib/kube/types.ts";
import type { Backend } from "./backend.ts";
import { type Answer, type Question, WaypointChain } from "./chain.ts";

/** By a subset, so that nothing is answered before the rule is in force. */
const rule = (host: string, policy: string) => `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ${host}}
spec: {host: ${host}, trafficPolicy: {${policy}}, subsets: [{name: all}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ${host}}
spec: {hosts: [${host}], http: [{route: [{destination: {host: ${host}, subset: all}}]}]}
`;
const hash = (fields: string) => `loadBalancer: {consistentHash: {${fields}}}`;
const OUTLIERS =
  "outlierDetection: {consecutive5xxErrors: 2, interval: 100ms, baseEjectionTime: 1s, maxEjectionPercent: 100}";

const WARM_UP_MS = 6_000;

/** Host to policy. */
const RULES: Readonly<Record<string, string>> = {
  header: hash("httpHeaderName: x-user"),
  maglev: hash("httpHeaderName: x-user, maglev: {tableSize: 251}"),
  cookie: hash("httpCookie: {name: user, path: /, ttl: 60s}"),
  query: hash("httpQueryParameterName: user"),
  source: hash("useSourceIp: true"),
  random: "loadBalancer: {simple: RANDOM}",
  turns: "loadBalancer: {simple: ROUND_ROBIN}",
  near: `loadBalancer: {localityLbSetting: {enabled: true}}, ${OUTLIERS}`,
  spread:
    'loadBalancer: {localityLbSetting: {enabled: true, distribute: [{from: "east/*", to: {"west/w1/*": 80, "east/e1/*": 20}}]}}',
  warm: "loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 6s, aggression: 0.2}}",
  sick: OUTLIERS,
  pool: "connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}",
  fresh: "connectionPool: {http: {maxRequestsPerConnection: 1}}",
};

/** Services whose pods are not the six that the others share. */
const OWN_PODS: Readonly<Record<string, string>> = {
  spread: "near",
  near: "near",
  warm: "warm",
  sick: "sick",
  pool: "pool",
  fresh: "pool",
};

describe("a request", () => {
  let chain: WaypointChain;
  const byZone = new Map<string, Backend>();
  const sick: Backend[] = [];
  let pool: Backend;
  let usual: Backend["handler"];
  let begun = 0;

  const podOf = ({ body }: Answer) => (JSON.parse(body) as { pod: string }).pod;
  /** Which pods answer `n` requests, and how many each. */
  async function share(url: string, n: number, question: Question = {}): Promise<Map<string, number>> {
    const counts = new Map<string, number>();
    for (let i = 0; i < n; i++) {
      const pod = podOf(await chain.ask(url, question));
      counts.set(pod, (counts.get(pod) ?? 0) + 1);
    }
    return counts;
  }
  const owners = async (ask: (user: number) => Promise<Answer>) => {
    const pods: string[] = [];
    for (let user = 0; user < 24; user++) pods.push(podOf(await ask(user)));
    return pods;
  };

  beforeAll(async () => {
    // One loop: the numbers of connections are those of the waypoint.
    chain = await WaypointChain.start({ waypoint: { WEFT_LOOPS: "1", WEFT_LOCALITY: "east/e1" } });
    for (const [node, region, zone] of [
      ["n1", "east", "e1"],
      ["n2", "east", "e2"],
      ["n3", "west", "w1"],
    ] as const) {
      const labels = { "topology.kubernetes.io/region": region, "topology.kubernetes.io/zone": zone };
      chain.kube.put(NODES, { metadata: { name: node, labels } });
      byZone.set(zone, await chain.pod(`near-${zone}`, "near", {}, node));
    }
    for (let i = 1; i <= 6; i++) await chain.pod(`web-${i}`, "web");
    for (let i = 1; i <= 2; i++) sick.push(await chain.pod(`sick-${i}`, "sick"));
    await chain.pod("warm-1", "warm");
    pool = await chain.pod("pool-1", "pool");
    usual = pool.handler;
    for (const [host, policy] of Object.entries(RULES)) {
      chain.service(host, undefined, OWN_PODS[host] ?? "web");
      chain.apply(rule(host, policy));
    }
    begun = performance.now();
    for (const host of Object.keys(RULES)) await chain.until(({ status }) => status === 200, `http://${host}/`);
  });
  afterAll(() => chain?.stop());
  afterEach(() => {
    pool.handler = usual;
  });

  it.each(["header", "maglev"])(
    "of one user goes to one server, and users spread over all of them: by %s",
    async (host) => {
      const ask = (user: number) => chain.ask(`http://${host}/`, { headers: { "x-user": `user-${user}` } });
      const first = await owners(ask);
      expect(await owners(ask)).toEqual(first);
      expect(new Set(first).size).toBeGreaterThan(3);
      // Without the header there is nothing to hash.
      expect((await share(`http://${host}/`, 24)).size).toBeGreaterThan(2);
    },
  );

  it("of one user goes to one server by a query parameter, or by its address", async () => {
    const ask = (user: number) => chain.ask(`http://query/?user=${user}`);
    expect(await owners(ask)).toEqual(await owners(ask));
    expect((await share("http://source/", 12)).size).toBe(1);
  });

  it("gets a cookie that brings it back", async () => {
    const first = await chain.ask("http://cookie/");
    const [set = ""] = first.headers["set-cookie"] ?? [];
    expect(set).toMatch(/^user="?[0-9a-f]+"?; Max-Age=60; Path=\/; HttpOnly$/i);
    const cookie = set.split(";")[0] ?? "";
    expect([...(await share("http://cookie/", 12, { headers: { cookie } })).keys()]).toEqual([podOf(first)]);
    expect((await chain.ask("http://cookie/", { headers: { cookie } })).headers["set-cookie"]).toBeUndefined();
  });

  it("moves only when its server is gone", async () => {
    const ask = (user: number) => chain.ask("http://header/", { headers: { "x-user": `user-${user}` } });
    const before = await owners(ask);
    const gone = before[0] ?? "";
    chain.remove("Pod", gone);
    await eventually("another server", async () => podOf(await ask(0)) !== gone, 20_000);
    const after = await owners(ask);
    expect(after).not.toContain(gone);
    const moved = after.filter((pod, i) => pod !== before[i] && before[i] !== gone).length;
    expect(moved).toBeLessThan(before.length / 4);
    chain.putPod(chain.backends.get(gone) as Backend, { app: "web" });
    await eventually("the server again", async () => podOf(await ask(0)) === gone, 20_000);
  });

  it("goes in turns or at random where nothing is hashed", async () => {
    expect([...(await share("http://turns/", 12)).values()]).toEqual([2, 2, 2, 2, 2, 2]);
    expect((await share("http://random/", 40)).size).toBeGreaterThan(3);
  });

  it("stays near while there is somebody, and fails over zone by zone", async () => {
    const nearest = async () => [...(await share("http://near/", 6)).keys()];
    expect(await nearest()).toEqual(["near-e1"]);
    chain.remove("Pod", "near-e1");
    await eventually("the next zone", async () => `${await nearest()}` === "near-e2", 20_000);
    chain.remove("Pod", "near-e2");
    await eventually("the other region", async () => `${await nearest()}` === "near-w1", 20_000);
    for (const [zone, node] of [
      ["e1", "n1"],
      ["e2", "n2"],
    ] as const) {
      chain.putPod(byZone.get(zone) as Backend, { app: "near" }, node);
    }
    await eventually("the near one", async () => `${await nearest()}` === "near-e1", 20_000);
  });

  it("is spread over localities as they are listed, and never to others", async () => {
    const counts = await share("http://spread/", 100);
    expect(counts.has("near-e2")).toBe(false);
    // 80 of 100: outside of 60…95 in one of a million runs.
    expect(counts.get("near-w1")).toBeGreaterThan(60);
    expect(counts.get("near-w1")).toBeLessThan(95);
  });

  it("seldom goes to a server that is just there, while it warms up", async () => {
    // The other one has to be warm: they share evenly while both are not.
    await eventually("six seconds", () => performance.now() - begun > WARM_UP_MS, 2 * WARM_UP_MS);
    await chain.pod("warm-2", "warm");
    await eventually("the new one", async () => (await share("http://warm/", 11)).has("warm-2"), 20_000);
    const counts = await share("http://warm/", 40);
    expect(counts.get("warm-2") ?? 0).toBeLessThan(15);
  });

  it("is kept from a server that fails, and from all of them when all do, until their time is over", async () => {
    const fail: Backend["handler"] = (_, response) => response.writeHead(500).end('{"pod":"failing"}');
    const [first, second] = sick as [Backend, Backend];
    const well = first.handler;
    first.handler = fail;
    await eventually(
      "the ejection",
      async () => [...(await share("http://sick/", 6)).keys()].every((pod) => pod === second.name),
      20_000,
    );
    second.handler = fail;
    const answer = await chain.until(({ body }) => body === "no healthy upstream", "http://sick/");
    expect(answer.status).toBe(503);
    expect(await answer.line()).toMatchObject({ response_flags: "UH" });
    first.handler = well;
    await eventually("its way back", async () => podOf(await chain.ask("http://sick/")) === first.name, 20_000);
  });

  it("waits for a connection if it may, and is refused if too many wait", async () => {
    const held: (() => void)[] = [];
    pool.handler = (_, response) => void held.push(() => response.end("{}"));
    const first = chain.ask("http://pool/1");
    await eventually("the first", () => held.length === 1);
    const [second, third] = [chain.ask("http://pool/2"), chain.ask("http://pool/3")];
    const refused = await Promise.race([second, third]);
    expect(refused.status).toBe(503);
    expect(refused.headers["x-envoy-overloaded"]).toBe("true");
    expect(await refused.line()).toMatchObject({ response_flags: "UO" });
    expect(held.length).toBe(1);
    held[0]?.();
    await eventually("the second", () => held.length === 2);
    held[1]?.();
    const statuses = (await Promise.all([first, second, third])).map(({ status }) => status);
    expect(statuses.toSorted()).toEqual([200, 200, 503]);
  });

  it("has a connection of its own where one may carry no more", async () => {
    const ports = new Set<number | undefined>();
    pool.handler = (request, response) => {
      ports.add(request.socket.remotePort);
      usual(request, response);
    };
    for (let i = 0; i < 5; i++) await chain.ask("http://fresh/");
    expect(ports.size).toBe(5);
  });
});
