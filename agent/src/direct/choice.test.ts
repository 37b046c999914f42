import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ipToBytes } from "#lib/address.ts";
import { ApplicationTunnel_Protocol, LoadBalancing_Mode, WorkloadStatus } from "#proto/workload_pb.ts";
import { localPod } from "../../../test/helpers/local-pod.ts";
import { serviceAddress, uidOf, type WorkloadFixture, workloadAddress } from "../../../test/helpers/mesh-fixtures.ts";
import { meshState, put } from "../../../test/helpers/mesh-state.ts";
import { type LocalPod, LocalPods } from "../enroll/local-pods.ts";
import { compileRoute } from "../route/compile.ts";
import type { MeshState } from "../state/mesh-state.ts";

const VIP = "10.96.0.1";
const HOST = "default/web";
const WEB = serviceAddress({ name: "web", hostname: "web", vips: [VIP, "fd96::1"], ports: { 80: 8080 } });
const SOURCE = localPod(1, "client", ["10.0.0.1", "fd00::1"]);
const SERVER = localPod(2, "server", ["10.0.0.2", "fd00::2"]);
const waypoint = {
  destination: { case: "hostname" as const, value: { namespace: "default", hostname: "wp" } },
  hboneMtlsPort: 15008,
};

/** An endpoint of the service. */
function endpoint(name: string, ips: readonly string[], fixture: Partial<WorkloadFixture> = {}) {
  return workloadAddress({ name, ips, services: { [HOST]: { 80: 8080 } }, ...fixture });
}

/** The client's pod and others, captured. */
function world(state: MeshState, ...pods: readonly LocalPod[]): LocalPods {
  put(state, workloadAddress({ name: "client", ips: SOURCE.addresses }));
  state.commit();
  const local = new LocalPods(state);
  for (const pod of [SOURCE, ...pods]) {
    local.add(pod);
    local.capture(pod);
  }
  return local;
}

function choose(state: MeshState, pods: LocalPods, ip: string, port = 80, source = SOURCE) {
  const workload = state.workloads.get(uidOf("client"));
  if (workload === undefined) throw new Error("no client");
  return compileRoute(workload, { ip, port }, state, () => undefined, { pod: source, pods });
}

function paths(state: MeshState, pods: LocalPods, ip = VIP, port = 80, source = SOURCE): string[] {
  return choose(state, pods, ip, port, source).direct.map(
    ({ path, address, pod }) => `${path} ${address.ip}:${address.port}${pod === undefined ? "" : ` in ${pod}`}`,
  );
}

describe("of a service", () => {
  test("a captured pod of this node is direct, in the family that was asked for; others keep their share", () => {
    const state = meshState(
      WEB,
      endpoint("server", SERVER.addresses, { more: { capacity: 2 } }),
      endpoint("far", ["10.0.1.9"], { more: { node: "node-2" } }),
    );
    const pods = world(state, SERVER);
    expect(paths(state, pods)).toEqual(["direct 10.0.0.2:8080 in 2", "agent 10.0.1.9:8080"]);
    expect(choose(state, pods, VIP).direct.map(({ weight }) => weight)).toEqual([2, 1]);
    // The far one has no IPv6: a socket cannot change its family.
    expect(paths(state, pods, "fd96::1")).toEqual(["direct fd00::2:8080 in 2", "agent 10.0.1.9:8080"]);
  });

  test("the pod itself may be its own endpoint", () => {
    const state = meshState(WEB);
    const pods = world(state);
    put(state, endpoint("client", SOURCE.addresses));
    state.commit();
    expect(paths(state, pods)).toEqual(["direct 10.0.0.1:8080 in 1"]);
  });

  test("one that needs no tunnel is plain, whichever node it is on", () => {
    const state = meshState(WEB, endpoint("vm", ["192.0.2.9"], { hbone: false }));
    expect(paths(state, world(state))).toEqual(["plain 192.0.2.9:8080"]);
  });

  test("without anything that BPF could carry out there is nothing to choose", () => {
    const state = meshState(WEB, endpoint("far", ["10.0.1.9"], { more: { node: "node-2" } }));
    expect(paths(state, world(state))).toEqual([]);
  });

  test.each([
    ["that is bound to a waypoint", { more: { waypoint } }],
    [
      "that is tunnelled to its application",
      { more: { applicationTunnel: { protocol: ApplicationTunnel_Protocol.PROXY, port: 15088 } } },
    ],
    ["of another trust domain", { more: { trustDomain: "other.example" } }],
    ["of an account that is not the pod's", { more: { serviceAccount: "somebody" } }],
    ["of another cluster with the same names", { more: { clusterId: "second" } }],
  ])("a workload %s is the agent's", (_what, fixture) => {
    const other = localPod(3, "other", ["10.0.0.3"]);
    const state = meshState(WEB, endpoint("server", ["10.0.0.2"], fixture), endpoint("other", ["10.0.0.3"]));
    expect(paths(state, world(state, SERVER, other))).toEqual(["agent 10.0.0.2:8080", "direct 10.0.0.3:8080 in 3"]);
  });

  test("a pod is reached directly at its first address only, which verdicts are about", () => {
    const two = localPod(2, "server", ["10.0.0.2", "10.0.0.22"]);
    const state = meshState(endpoint("server", two.addresses));
    const pods = world(state, two);
    expect(paths(state, pods, "10.0.0.2")).toEqual(["direct 10.0.0.2:80 in 2"]);
    expect(paths(state, pods, "10.0.0.22")).toEqual([]);
  });

  test("with a waypoint it is the agent's as a whole", () => {
    const bound = serviceAddress({
      name: "web",
      hostname: "web",
      vips: [VIP],
      ports: { 80: 8080 },
      more: { waypoint },
    });
    const proxy = serviceAddress({ name: "wp", hostname: "wp", ports: { 15008: 15008 } });
    const pod = workloadAddress({ name: "wp", ips: ["10.0.0.9"], services: { "default/wp": { 15008: 15008 } } });
    const state = meshState(bound, proxy, pod, endpoint("server", ["10.0.0.2"]));
    expect(paths(state, world(state, SERVER))).toEqual([]);
  });

  test("that leads to a port of the agent's, or to more endpoints than a set holds, it is the agent's", () => {
    const reserved = serviceAddress({ name: "web", hostname: "web", vips: [VIP], ports: { 80: 15006 } });
    const state = meshState(reserved, workloadAddress({ name: "server", ips: ["10.0.0.2"], services: { [HOST]: {} } }));
    expect(paths(state, world(state, SERVER))).toEqual([]);
    const many = Array.from({ length: 1025 }, (_, index) =>
      endpoint(`pod${index}`, [`10.1.${index >> 8}.${index & 255}`], { hbone: false }),
    );
    const large = meshState(WEB, ...many);
    expect(paths(large, world(large))).toEqual([]);
    large.removeAddress(uidOf("pod7"));
    large.commit();
    expect(paths(large, world(large))).toHaveLength(1024);
  });

  test("whose endpoint is known by a name, that one is the agent's, whose look-ups follow the name", () => {
    const state = meshState(
      WEB,
      endpoint("named", [], { hbone: false, more: { hostname: "ext.example" } }),
      endpoint("server", ["10.0.0.2"]),
    );
    const pods = world(state, SERVER);
    const source = state.workloads.get(uidOf("client"));
    if (source === undefined) throw new Error("no client");
    const destination = { ip: VIP, port: 80 };
    const local = { pod: SOURCE, pods };
    const known = compileRoute(source, destination, state, () => ["192.0.2.80"], local);
    expect(known.direct.map(({ path }) => path)).toEqual(["agent", "direct"]);
    // Not all are known yet: the balance would be another.
    expect(compileRoute(source, destination, state, () => undefined, local).direct).toEqual([]);
  });
});

describe("of an address", () => {
  test("that nobody knows, it is itself, unless it is a port of the agent's", () => {
    const state = meshState();
    const pods = world(state);
    expect(paths(state, pods, "192.0.2.1", 443)).toEqual(["plain 192.0.2.1:443"]);
    expect(paths(state, pods, "192.0.2.1", 15008)).toEqual([]);
  });

  test("of a pod of this node that the mesh has yet to tell of, it is the agent's", () => {
    const state = meshState();
    const pods = world(state, SERVER);
    expect(paths(state, pods, "10.0.0.2")).toEqual([]);
    // And when it is told as a pod outside the mesh.
    put(state, endpoint("server", ["10.0.0.2"], { hbone: false }));
    state.commit();
    expect(paths(state, pods, "10.0.0.2")).toEqual([]);
  });

  test("of a service that leaves it to the client, it is itself", () => {
    const passed = serviceAddress({
      name: "web",
      hostname: "web",
      vips: [VIP],
      more: { loadBalancing: { mode: LoadBalancing_Mode.PASSTHROUGH } },
    });
    const state = meshState(passed);
    expect(paths(state, world(state))).toEqual(["plain 10.96.0.1:80"]);
  });

  test("for a pod without an address of that family it is the agent's", () => {
    const state = meshState(endpoint("server", SERVER.addresses));
    const narrow = { ...SOURCE, addresses: ["10.0.0.1"] };
    const pods = world(state, SERVER);
    expect(paths(state, pods, "fd00::2", 80, narrow)).toEqual([]);
    expect(paths(state, pods, "2001:db8::1", 80, narrow)).toEqual([]);
  });
});

test("an answer says which pods would change it by coming or going", () => {
  const state = meshState(WEB, endpoint("server", ["10.0.0.2"]));
  const pods = world(state);
  expect(choose(state, pods, VIP).dependencies).toContain("local:default/server");
  expect(choose(state, pods, "192.0.2.1").dependencies).toContain("pod:192.0.2.1");
});

const workload = fc.record({
  hbone: fc.boolean(),
  node: fc.constantFrom("node-1", "node-2"),
  captured: fc.boolean(),
  bound: fc.boolean(),
  ready: fc.boolean(),
  network: fc.constantFrom("", "", "far-away"),
  capacity: fc.integer({ min: 1, max: 5 }),
  v6: fc.boolean(),
});

test("BPF chooses among the endpoints of the agent's route, by the same weights, and no tunnel becomes plain", () => {
  fc.assert(
    fc.property(fc.array(workload, { maxLength: 8 }), fc.constantFrom(VIP, "fd96::1"), (workloads, asked) => {
      const state = meshState(WEB);
      const captured: LocalPod[] = [];
      for (const [index, { hbone, node, bound, ready, network, capacity, v6 }] of workloads.entries()) {
        const ips = [`10.0.2.${index}`, ...(v6 ? [`fd00:2::${index + 1}`] : [])];
        const more = {
          node,
          network,
          capacity,
          status: ready ? WorkloadStatus.HEALTHY : WorkloadStatus.UNHEALTHY,
          ...(bound ? { waypoint } : {}),
        };
        put(state, endpoint(`w${index}`, ips, { hbone, more }));
        if (workloads[index]?.captured === true) captured.push(localPod(index + 10, `w${index}`, ips));
      }
      const { route, direct } = choose(state, world(state, ...captured), asked);
      if (direct.length === 0) return;
      if (route?.kind !== "endpoints") throw new Error("a choice without a route");
      expect(direct.map(({ key, weight }) => ({ key, weight }))).toEqual(
        route.endpoints.map(({ key, weight }) => ({ key, weight })),
      );
      for (const [index, { path, pod, address }] of direct.entries()) {
        const target = state.workloads.byKey(direct[index]?.key ?? 0);
        const tunnelled = route.endpoints[index]?.tunnel !== undefined;
        expect(path === "plain" && tunnelled).toBe(false);
        expect(path === "direct").toBe(pod !== undefined);
        if (path === "agent") continue;
        expect(ipToBytes(address.ip)).toHaveLength(ipToBytes(asked).length);
        expect(target?.waypoint).toBeUndefined();
        if (path === "direct") expect([target?.node, tunnelled]).toEqual(["node-1", true]);
      }
      expect(direct.some(({ path }) => path !== "agent")).toBe(true);
    }),
    { numRuns: 500 },
  );
});
