import { afterEach, describe, expect, test, vi } from "vitest";
import { DecisionBed } from "../../test/helpers/decision-bed.ts";
import { directEvents } from "../../test/helpers/direct-event.ts";
import { FakeKernel } from "../../test/helpers/fake-kernel.ts";
import { localPod } from "../../test/helpers/local-pod.ts";
import { denial, serviceAddress, uidOf, workloadAddress } from "../../test/helpers/mesh-fixtures.ts";
import { EVENT_OPEN } from "./direct/event-decoder.ts";
import type { LocalPod } from "./enroll/local-pods.ts";
import type { SocketAddress, VerdictKey } from "./native.ts";
import type { StoredPolicy } from "./state/policy-store.ts";

const HOST = "default/web.default.svc.cluster.local";
const VIP = { ip: "10.96.0.1", port: 80 };
const OUTSIDE = { ip: "192.0.2.1", port: 443 };
const CLIENT = localPod(1, "client", ["10.0.0.1"]);
const ONE = localPod(2, "one", ["10.0.0.2"]);
const TWO = localPod(3, "two", ["10.0.0.3"]);
const CLIENT_TO_ONE: VerdictKey = { source: 1n, destination: 2n, port: 8080, family: 4 };
const TO_ONE = { ip: "10.0.0.2", port: 8080 };

let bed: DecisionBed;

afterEach(() => {
  bed.close();
});

function published(name: string, ip: string, more: Parameters<typeof workloadAddress>[0]["more"] = {}) {
  const services = name === "client" ? {} : { [HOST]: { 80: 8080 } };
  return workloadAddress({ name, ips: [ip], services, more });
}

const MESH = [
  serviceAddress({ name: "web", vips: [VIP.ip], ports: { 80: 8080 } }),
  published("client", "10.0.0.1"),
  published("one", "10.0.0.2"),
  published("two", "10.0.0.3"),
];

function setPolicy(...policies: StoredPolicy[]): void {
  for (const policy of policies) bed.state.setPolicy(policy);
  bed.state.commit();
}

function removePolicy(name: string): void {
  bed.state.removePolicy(`default/${name}`);
  bed.state.commit();
}

function started(kernel?: FakeKernel, pods: readonly LocalPod[] = [CLIENT, ONE, TWO]): DecisionBed {
  bed = new DecisionBed(kernel).start(pods, MESH);
  return bed;
}

const pathsTo = (destination: SocketAddress) =>
  bed.kernel.endpoints(CLIENT.cookie, destination)?.map(({ path, address }) => `${path} ${address.ip}:${address.port}`);

describe("a route that is asked for", () => {
  test("is BPF's with verdicts on its local endpoints, and the plain one with none", () => {
    started();
    bed.miss(CLIENT, VIP);
    bed.miss(CLIENT, OUTSIDE);
    expect(pathsTo(VIP)).toEqual(["direct 10.0.0.2:8080", "direct 10.0.0.3:8080"]);
    expect(bed.kernel.verdict(CLIENT_TO_ONE)).toBe(true);
    expect(pathsTo(OUTSIDE)).toEqual(["plain 192.0.2.1:443"]);
    expect(bed.decisions.direct.figures()).toMatchObject({ routes: 2, verdicts: 2, failures: 0 });
  });

  test("by a pod that the mesh has not told of yet is the agent's, to where any pod's leads; BPF gets it with the telling", () => {
    const newborn = localPod(4, "newborn", ["10.0.0.4"]);
    started(undefined, [newborn, ONE, TWO]);
    bed.engine.commands.length = 0;
    bed.miss(newborn, VIP);
    const route = bed.engine.commands.find((command) => command.op === "set-route")?.route;
    expect(route).toMatchObject({ kind: "endpoints", endpoints: [{ weight: 1 }, { weight: 1 }] });
    expect(bed.kernel.endpoints(newborn.cookie, VIP) ?? []).toEqual([]);
    bed.put(workloadAddress({ name: "newborn", ips: ["10.0.0.4"] }));
    expect(bed.kernel.endpoints(newborn.cookie, VIP)).toHaveLength(2);
  });

  test("has its verdict before it can be followed", () => {
    started();
    bed.miss(CLIENT, VIP);
    const ops = bed.kernel.directCommands.map(({ op }) => op);
    expect(ops.lastIndexOf("set-verdict")).toBeLessThan(ops.indexOf("set-route"));
  });

  test("shares its verdicts with others to the same endpoints, which keep them when it goes", () => {
    started();
    bed.miss(CLIENT, VIP);
    bed.miss(CLIENT, TO_ONE);
    expect(bed.decisions.direct.figures()).toMatchObject({ routes: 2, verdicts: 2 });
    bed.state.removeAddress("default/web.default.svc.cluster.local");
    bed.state.commit();
    expect(bed.kernel.verdict(CLIENT_TO_ONE)).toBe(true);
    expect(bed.kernel.verdict({ ...CLIENT_TO_ONE, destination: 3n })).toBeUndefined();
    expect(bed.kernel.verdicts.size).toBe(1);
  });
});

describe("a change of policies", () => {
  test("takes verdicts back before the engine hears of it, then decides anew", () => {
    started();
    bed.miss(CLIENT, TO_ONE);
    let before: boolean | undefined = true;
    bed.engine.beforeApply = (commands) => {
      if (commands.some(({ op }) => op === "set-policy")) before = bed.kernel.verdict(CLIENT_TO_ONE);
    };
    setPolicy(denial("no", "client"));
    expect(before).toBeUndefined();
    expect(bed.kernel.verdict(CLIENT_TO_ONE)).toBe(false);
    removePolicy("no");
    expect(bed.kernel.verdict(CLIENT_TO_ONE)).toBe(true);
  });

  test("on trial leaves connections that it would deny to the agent, which reports each", () => {
    started();
    bed.miss(CLIENT, TO_ONE);
    setPolicy(denial("trial", "client", { dryRun: true }));
    expect(bed.kernel.verdict(CLIENT_TO_ONE)).toBeUndefined();
    expect(bed.kernel.verdicts.size).toBe(0);
    setPolicy(denial("trial", "other", { dryRun: true }));
    expect(bed.kernel.verdict(CLIENT_TO_ONE)).toBe(true);
  });

  test("that names a policy which has not come yet denies nobody for good", () => {
    started();
    bed.miss(CLIENT, TO_ONE);
    bed.put(published("one", "10.0.0.2", { authorizationPolicies: ["default/late"] }));
    expect(bed.kernel.verdict(CLIENT_TO_ONE)).toBeUndefined();
    expect(bed.kernel.pods.get(2n)?.open).toBe(false);
  });

  test("ends exactly the open connections that are no longer allowed, and says why", () => {
    started();
    const source = (port: number) => ({ ip: "10.0.0.1", port });
    bed.kernel.open = [
      { kind: EVENT_OPEN, source: source(1000), destination: TO_ONE },
      { kind: EVENT_OPEN, source: source(1003), destination: TO_ONE },
      { kind: EVENT_OPEN, sourcePod: 3n, source: { ip: "10.0.0.3", port: 1001 }, destination: TO_ONE },
      { kind: EVENT_OPEN, path: "plain-in", sourcePod: 0n, source: { ip: "192.0.2.9", port: 1 }, destination: TO_ONE },
      { kind: EVENT_OPEN, path: "plain-out", destinationPod: 0n, source: source(1002), destination: OUTSIDE },
    ];
    setPolicy(denial("no", "client"));
    expect(bed.kernel.ended.map(({ source }) => source.port)).toEqual([1000, 1003]);
    expect(bed.decisions.direct.figures().ended).toBe(2);
    expect(bed.kernel.open).toHaveLength(3);
    const { onEvents } = bed.decisions.direct;
    onEvents(directEvents({ source: source(1003), destination: TO_ONE, reason: "policy_changed" }));
    expect(bed.lines.at(-1)).toContain("policy change: explicitly denied by: default/no");
  });

  test("ends plaintext that came in while it was forbidden", () => {
    started();
    setPolicy(denial("no", "client"));
    const from = {
      path: "plain-in" as const,
      sourcePod: 0n,
      source: { ip: "192.0.2.9", port: 1 },
      destination: TO_ONE,
    };
    bed.decisions.direct.onEvents(directEvents({ ...from, kind: EVENT_OPEN }));
    expect(bed.kernel.ended).toEqual([]);
    bed.put(published("one", "10.0.0.2", { authorizationPolicies: ["default/late"] }));
    bed.decisions.direct.onEvents(directEvents({ ...from, kind: EVENT_OPEN }));
    expect(bed.kernel.ended).toHaveLength(1);
  });
});

describe("plaintext from outside", () => {
  const open = () => [1n, 2n, 3n].map((cookie) => bed.kernel.pods.get(cookie)?.open);

  test("needs no agent where no policy is in force, not even one on trial", () => {
    started();
    expect(open()).toEqual([true, true, true]);
    setPolicy(denial("trial", "x", { dryRun: true }));
    expect(open()).toEqual([false, false, false]);
    removePolicy("trial");
    expect(open()).toEqual([true, true, true]);
  });

  test("needs it for a pod that the mesh does not know", () => {
    started();
    bed.state.removeAddress(uidOf("one"));
    bed.state.commit();
    expect(open()).toEqual([true, false, true]);
  });
});

describe("a pod", () => {
  test("that leaves takes its routes and verdicts along, and others go to it by the agent", () => {
    started();
    bed.miss(CLIENT, VIP);
    bed.miss(ONE, VIP);
    bed.leave(ONE);
    expect(pathsTo(VIP)).toEqual(["agent 10.0.0.2:8080", "direct 10.0.0.3:8080"]);
    expect(bed.kernel.routesHeld.size).toBe(1);
    expect(bed.kernel.verdicts.size).toBe(1);
    bed.enroll(localPod(4, "one", ["10.0.0.2"]));
    expect(pathsTo(VIP)).toEqual(["direct 10.0.0.2:8080", "direct 10.0.0.3:8080"]);
    expect(bed.decisions.direct.figures().failures).toBe(0);
  });

  test("that is taken out and in again, captured all the while, has nothing decided in between", () => {
    started();
    bed.miss(CLIENT, VIP);
    bed.miss(ONE, VIP);
    bed.leave(ONE, true);
    expect(bed.kernel.endpoints(ONE.cookie, VIP)).toBeUndefined();
    expect(bed.kernel.pods.get(2n)?.open).toBe(false);
    expect(bed.kernel.verdict(CLIENT_TO_ONE)).toBeUndefined();
    bed.enroll({ ...ONE, id: 4 });
    expect(bed.kernel.pods.get(2n)?.open).toBe(true);
    expect(bed.kernel.verdict(CLIENT_TO_ONE)).toBe(true);
  });
});

describe("a new agent", () => {
  function restart(kernel: FakeKernel, pods: readonly LocalPod[] = []): DecisionBed {
    bed.close();
    bed = new DecisionBed(kernel);
    for (const pod of pods) bed.enroll(pod);
    return bed;
  }

  test("leaves everything as it is until it knows pods and mesh", () => {
    const { kernel } = started();
    bed.miss(CLIENT, VIP);
    const told = kernel.directCommands.length;
    restart(kernel, [CLIENT, ONE, TWO]);
    bed.decisions.direct.podsKnown();
    setPolicy(denial("no", "client"));
    expect(kernel.directCommands).toHaveLength(told);
    expect(kernel.verdict(CLIENT_TO_ONE)).toBe(true);
    expect(kernel.plainForMs).toHaveLength(1);
    expect(bed.kernel.pods.get(2n)?.open).toBe(true);
  });

  test("then replaces each route without a moment in which it is not there", () => {
    const { kernel } = started();
    bed.miss(CLIENT, VIP);
    const told = kernel.directCommands.length;
    restart(kernel).start([CLIENT, ONE, TWO], MESH);
    const ops = kernel.directCommands.slice(told).map(({ op }) => op);
    expect(ops).not.toContain("remove-route");
    expect(ops).not.toContain("remove-verdict");
    expect(ops).not.toContain("expire-verdicts");
    expect(ops).toContain("set-route");
    expect(kernel.verdict(CLIENT_TO_ONE)).toBe(true);
  });

  test("decides anew by what has changed meanwhile, for new and for open connections", () => {
    const { kernel } = started();
    bed.miss(CLIENT, VIP);
    kernel.open = [{ kind: EVENT_OPEN, source: { ip: "10.0.0.1", port: 1000 }, destination: TO_ONE }];
    restart(kernel);
    bed.state.setPolicy(denial("no", "client"));
    bed.start([CLIENT, ONE, TWO], MESH.slice(0, 3));
    expect(kernel.ended).toHaveLength(1);
    expect(pathsTo(VIP)).toEqual(["direct 10.0.0.2:8080"]);
    expect(kernel.verdict(CLIENT_TO_ONE)).toBe(false);
  });

  test("keeps the routes of a pod that is still coming in, and drops those of one that is gone", () => {
    const { kernel } = started();
    bed.miss(CLIENT, OUTSIDE);
    bed.miss(ONE, OUTSIDE);
    kernel.direct([{ op: "set-route", pod: 77n, destination: OUTSIDE, endpoints: [] }]);
    restart(kernel).start([ONE], MESH);
    expect(kernel.routes().map(({ pod }) => pod)).toEqual([1n, 2n]);
    const told = kernel.directCommands.length;
    bed.enroll(CLIENT);
    expect(kernel.directCommands.slice(told)).toContainEqual(
      expect.objectContaining({ op: "set-route", pod: 1n, destination: OUTSIDE }),
    );
  });

  test("trusts nothing that was decided for and about a pod that does not come in", () => {
    const { kernel } = started();
    bed.miss(CLIENT, TO_ONE);
    bed.miss(TWO, TO_ONE);
    restart(kernel);
    bed.state.setPolicy(denial("no", "client"));
    bed.start([ONE, TWO], MESH);
    expect(kernel.verdict(CLIENT_TO_ONE)).toBeUndefined();
    expect(kernel.pods.get(CLIENT.cookie)?.open).toBe(false);
    expect(kernel.verdict({ ...CLIENT_TO_ONE, source: TWO.cookie })).toBe(true);
  });

  test("ends what is no longer allowed to a pod that comes in late", () => {
    const { kernel } = started();
    kernel.open = [{ kind: EVENT_OPEN, source: { ip: "10.0.0.1", port: 1000 }, destination: TO_ONE }];
    restart(kernel);
    bed.state.setPolicy(denial("no", "client"));
    bed.start([CLIENT, TWO], MESH);
    expect(kernel.ended).toEqual([]);
    bed.enroll(ONE);
    expect(kernel.ended).toHaveLength(1);
  });

  test("tells of connections that ended meanwhile once it can name them", () => {
    const { kernel } = started();
    restart(kernel);
    bed.decisions.direct.onEvents(directEvents({}));
    expect(bed.lines.filter((line) => line.includes("\taccess\t"))).toEqual([]);
    bed.start([CLIENT, ONE, TWO], MESH);
    expect(bed.lines.filter((line) => line.includes("\taccess\t"))).toEqual([
      expect.stringContaining('src.workload="client"'),
    ]);
  });
});

test("the permission to send plaintext is renewed while the agent lives", () => {
  vi.useFakeTimers();
  try {
    const { kernel } = started();
    vi.advanceTimersByTime(60_000);
    expect(kernel.plainForMs).toEqual([60_000, 60_000, 60_000, 60_000, 60_000]);
    bed.close();
    vi.advanceTimersByTime(60_000);
    expect(kernel.plainForMs).toHaveLength(5);
  } finally {
    vi.useRealTimers();
  }
});

test("on a kernel that cannot end such connections nothing is BPF's, and that is said", () => {
  const kernel = new FakeKernel();
  kernel.directOff = () => "no SOCK_DESTROY";
  started(kernel);
  bed.miss(CLIENT, VIP);
  bed.miss(CLIENT, OUTSIDE);
  expect(kernel.routesHeld.size).toBe(0);
  expect([...kernel.pods.values()].some(({ open }) => open)).toBe(false);
  expect(bed.lines.some((line) => line.includes("SOCK_DESTROY"))).toBe(true);
});

test("an identity that the engine does not take leaves its pod to the agent", () => {
  started();
  bed.engine.evaluate = () => {
    throw new Error("not a SPIFFE id");
  };
  bed.miss(CLIENT, VIP);
  expect(bed.kernel.verdicts.size).toBe(0);
  expect(bed.lines.filter((line) => line.includes("not a SPIFFE id"))).toHaveLength(1);
});

test("what the maps do not take is said once per kind, and counted", () => {
  started();
  bed.kernel.direct = (commands) => commands.map((_, index) => `route of pod 1 to 10.0.0.${index}:80: map is full`);
  for (let port = 1; port <= 20; port++) bed.miss(CLIENT, { ip: "192.0.2.1", port });
  expect(bed.decisions.direct.figures().failures).toBe(20);
  expect(bed.lines.filter((line) => line.includes("map is full"))).toHaveLength(1);
});
