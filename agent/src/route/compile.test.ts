import { describe, expect, test } from "vitest";
import { ipToBytes } from "#lib/address.ts";
import type { Address } from "#proto/workload_pb.ts";
import {
  type ServiceFixture,
  serviceAddress,
  uidOf,
  type WorkloadFixture,
  workloadAddress,
} from "../../../test/helpers/mesh-fixtures.ts";
import { meshState } from "../../../test/helpers/mesh-state.ts";
import type { Route, RouteEndpoint } from "../native.ts";
import { compileRoute } from "./compile.ts";

const SOURCE = workloadAddress({ name: "src", ips: ["10.0.0.1"] });
const REVIEWS = "default/reviews.default.svc.cluster.local";

function reviews(change: Partial<ServiceFixture> = {}): Address {
  return serviceAddress({ name: "reviews", vips: ["10.96.0.1"], ports: { 80: 8080 }, ...change });
}

function member(name: string, ip: string, change: Partial<WorkloadFixture> = {}): Address {
  return workloadAddress({ name, ips: [ip], services: { [REVIEWS]: { 80: 8080 } }, ...change });
}

function waypointAt(hostname: string, namespace = "default") {
  return { destination: { case: "hostname" as const, value: { namespace, hostname } }, hboneMtlsPort: 15008 };
}

function compile(addresses: readonly Address[], ip: string, port = 80, hosts: Record<string, string[]> = {}) {
  const state = meshState(SOURCE, ...addresses);
  const source = state.workloads.get(uidOf("src"));
  if (source === undefined) throw new Error("no source");
  return compileRoute(source, { ip, port }, state, (host) => hosts[host]);
}

function route(addresses: readonly Address[], ip: string, port = 80, hosts: Record<string, string[]> = {}) {
  return compile(addresses, ip, port, hosts).route;
}

function endpointsOf(result: Route | undefined): readonly RouteEndpoint[] {
  if (result?.kind !== "endpoints") throw new Error(`no endpoints: ${JSON.stringify(result)}`);
  return result.endpoints;
}

function dialled(result: Route | undefined): string[] {
  return endpointsOf(result)
    .map(({ dial }) => `${dial.ip}:${dial.port}`)
    .sort();
}

const REFUSED = { kind: "refuse", reason: "no_healthy_upstream" };
const NO_WAYPOINT = { kind: "refuse", reason: "no_waypoint" };

describe("a workload's own address", () => {
  test("over HBONE to port 15008 with its identity expected", () => {
    expect(route([workloadAddress({ name: "a", ips: ["10.0.0.2"] })], "10.0.0.2", 9080)).toMatchObject({
      kind: "endpoints",
      endpoints: [
        {
          dial: { ip: "10.0.0.2", port: 15008 },
          tunnel: { authority: "10.0.0.2:9080", identities: ["spiffe://cluster.local/ns/default/sa/a"] },
        },
      ],
    });
  });

  test("plain when it is not in the mesh", () => {
    const result = route([workloadAddress({ name: "a", ips: ["10.0.0.2"], hbone: false })], "10.0.0.2", 9080);
    expect(result).toEqual({
      kind: "endpoints",
      endpoints: [{ key: expect.any(Number), weight: 1, dial: { ip: "10.0.0.2", port: 9080 } }],
    });
  });

  test("in brackets when it is IPv6", () => {
    const result = route([workloadAddress({ name: "a", ips: ["fd00::2"] })], "fd00::2", 80);
    expect(result).toMatchObject({ endpoints: [{ tunnel: { authority: "[fd00::2]:80" } }] });
  });

  test("on the host's network it is nobody's", () => {
    const host = workloadAddress({ name: "a", ips: ["10.0.0.2"], more: { networkMode: 1 } });
    expect(route([host], "10.0.0.2")).toEqual({ kind: "passthrough" });
  });
});

test("what nobody knows passes through", () => {
  expect(route([], "192.0.2.1", 443)).toEqual({ kind: "passthrough" });
});

describe("a service", () => {
  test("leads to its endpoints at their target port, weighted by capacity, with the host named", () => {
    const result = route(
      [reviews(), member("r1", "10.0.0.2", { more: { capacity: 3 } }), member("r2", "10.0.0.3")],
      "10.96.0.1",
    );
    expect(result).toMatchObject({ serviceHost: "reviews.default.svc.cluster.local" });
    expect(dialled(result)).toEqual(["10.0.0.2:15008", "10.0.0.3:15008"]);
    const weights = endpointsOf(result).map(({ weight }) => weight);
    expect(weights.sort()).toEqual([1, 3]);
  });

  test("accepts its own names for its endpoints", () => {
    const name = "spiffe://cluster.local/ns/default/sa/extra";
    const result = route(
      [reviews({ more: { subjectAltNames: [name, "not a SPIFFE id"] } }), member("r1", "10.0.0.2")],
      "10.96.0.1",
    );
    expect(result).toMatchObject({
      endpoints: [{ tunnel: { identities: ["spiffe://cluster.local/ns/default/sa/r1", name] } }],
    });
  });

  test("leaves out the unhealthy, unless it publishes them", () => {
    const sick = member("r1", "10.0.0.2", { more: { status: 1 } });
    expect(route([reviews(), sick], "10.96.0.1")).toEqual(REFUSED);
    const all = reviews({ more: { loadBalancing: { healthPolicy: 1 } } });
    expect(dialled(route([all, sick], "10.96.0.1"))).toEqual(["10.0.0.2:15008"]);
  });

  test("refuses a port that it does not have, and having no endpoint", () => {
    expect(route([reviews(), member("r1", "10.0.0.2")], "10.96.0.1", 81)).toEqual(REFUSED);
    expect(route([reviews()], "10.96.0.1")).toEqual(REFUSED);
  });

  test("takes the endpoint's port map before its own, and refuses a named port that nobody resolves", () => {
    const named = reviews({ ports: { 80: 0 } });
    const own = member("r1", "10.0.0.2", { services: { [REVIEWS]: { 80: 7777 } } });
    expect(route([named, own], "10.96.0.1")).toMatchObject({
      endpoints: [{ tunnel: { authority: "10.0.0.2:7777" } }],
    });
    const without = member("r1", "10.0.0.2", { services: { [REVIEWS]: {} } });
    expect(route([named, without], "10.96.0.1")).toEqual(REFUSED);
  });

  test("goes out as it is when it is to be passed through", () => {
    expect(route([reviews({ more: { loadBalancing: { mode: 3 } } })], "10.96.0.1")).toEqual({ kind: "passthrough" });
  });

  test("of a namespace's own is not seen from another", () => {
    const other = serviceAddress({ name: "s", namespace: "prod", vips: ["10.96.0.9"], more: { visibility: 1 } });
    expect(route([other], "10.96.0.9")).toEqual({ kind: "passthrough" });
  });

  test("of equal addresses the client's namespace comes first", () => {
    const member2 = workloadAddress({
      name: "p",
      namespace: "prod",
      ips: ["10.0.0.9"],
      services: { "prod/x.example": { 80: 80 } },
    });
    const both = [
      serviceAddress({ name: "x", namespace: "prod", hostname: "x.example", vips: ["10.96.0.1"] }),
      member2,
      reviews(),
      member("r1", "10.0.0.2"),
    ];
    expect(dialled(route(both, "10.96.0.1"))).toEqual(["10.0.0.2:15008"]);
  });

  test("by CIDR when no address is exact, the longest first", () => {
    const wide = serviceAddress({ name: "wide", vips: ["192.0.2.0/24"], more: { loadBalancing: { mode: 3 } } });
    const narrow = serviceAddress({ name: "narrow", vips: ["192.0.2.0/28"] });
    expect(route([wide, narrow], "192.0.2.1")).toEqual(REFUSED);
    expect(route([wide, narrow], "192.0.2.99")).toEqual({ kind: "passthrough" });
  });

  test("an endpoint of another network is left out: there is no tunnel in a tunnel", () => {
    const remote = member("r1", "10.0.0.2", { more: { network: "far" } });
    expect(route([reviews(), remote], "10.96.0.1")).toEqual(REFUSED);
  });

  test("of one address family keeps to it", () => {
    const dual = workloadAddress({ name: "r", ips: ["fd00::2", "10.0.0.2"], services: { [REVIEWS]: { 80: 8080 } } });
    expect(dialled(route([reviews(), dual], "10.96.0.1"))).toEqual(["10.0.0.2:15008"]);
    expect(dialled(route([reviews({ more: { ipFamilies: 2 } }), dual], "10.96.0.1"))).toEqual(["fd00::2:15008"]);
  });
});

describe("locality", () => {
  const at = (name: string, ip: string, region: string, zone: string, node = "node-9") =>
    member(name, ip, { more: { node, locality: { region, zone } } });
  const here = workloadAddress({ name: "src", ips: ["10.0.0.1"], more: { locality: { region: "r1", zone: "z1" } } });

  test("failover keeps the best rank only", () => {
    const service = reviews({ more: { loadBalancing: { mode: 2, routingPreference: [6, 1, 2] } } });
    const far = at("far", "10.0.0.4", "r2", "z1");
    const near = at("near", "10.0.0.3", "r1", "z2");
    const same = at("same", "10.0.0.2", "r1", "z1");
    expect(dialled(route([here, service, far, near, same], "10.96.0.1"))).toEqual(["10.0.0.2:15008"]);
    expect(dialled(route([here, service, far, near], "10.96.0.1"))).toEqual(["10.0.0.3:15008"]);
    expect(dialled(route([here, service, far], "10.96.0.1"))).toEqual(["10.0.0.4:15008"]);
  });

  test("strict refuses when nothing matches", () => {
    const service = reviews({ more: { loadBalancing: { mode: 1, routingPreference: [4] } } });
    expect(route([here, service, at("a", "10.0.0.2", "r1", "z1")], "10.96.0.1")).toEqual(REFUSED);
    const local = at("b", "10.0.0.3", "r1", "z1", "node-1");
    expect(dialled(route([here, service, local], "10.96.0.1"))).toEqual(["10.0.0.3:15008"]);
  });
});

describe("a waypoint", () => {
  const gateway = "default/wp.default.svc.cluster.local";
  const waypoint = (name: string, ports: Record<number, number> = { 15008: 15008 }) =>
    serviceAddress({ name, vips: [], ports });
  const pod = (name: string, ip: string, service: string, more = {}) =>
    workloadAddress({ name, ips: [ip], hbone: false, services: { [service]: { 15008: 15008 } }, more });

  test("of a service gets its connections, with the asked-for address as authority", () => {
    const result = route(
      [
        reviews({ more: { waypoint: waypointAt("wp.default.svc.cluster.local") } }),
        member("r1", "10.0.0.2"),
        waypoint("wp"),
        pod("wp-1", "10.0.0.8", gateway),
      ],
      "10.96.0.1",
    );
    expect(result).toMatchObject({
      serviceHost: "reviews.default.svc.cluster.local",
      endpoints: [
        {
          dial: { ip: "10.0.0.8", port: 15008 },
          tunnel: { authority: "10.96.0.1:80", identities: ["spiffe://cluster.local/ns/default/sa/wp-1"] },
        },
      ],
    });
  });

  test("that is not there refuses: nothing goes around it", () => {
    const bound = reviews({ more: { waypoint: waypointAt("wp.default.svc.cluster.local") } });
    expect(route([bound, member("r1", "10.0.0.2")], "10.96.0.1")).toEqual(NO_WAYPOINT);
    expect(route([bound, member("r1", "10.0.0.2"), waypoint("wp")], "10.96.0.1")).toEqual(NO_WAYPOINT);
  });

  test("by weights the shares of two compare as wholes", () => {
    const canary = "default/canary.default.svc.cluster.local";
    const result = route(
      [
        reviews({
          more: {
            weightedWaypoints: [
              { destination: waypointAt("wp.default.svc.cluster.local"), weight: 80 },
              { destination: waypointAt("canary.default.svc.cluster.local"), weight: 20 },
            ],
          },
        }),
        waypoint("wp"),
        waypoint("canary"),
        pod("wp-1", "10.0.0.8", gateway),
        pod("wp-2", "10.0.0.9", gateway),
        pod("canary-1", "10.0.0.10", canary),
      ],
      "10.96.0.1",
    );
    const share = (ip: string) => endpointsOf(result).find(({ dial }) => dial.ip === ip)?.weight ?? 0;
    expect(share("10.0.0.8") + share("10.0.0.9")).toBe(4 * share("10.0.0.10"));
  });

  test("of a workload is used when the workload itself is addressed, not through a service", () => {
    const bound = member("r1", "10.0.0.2", {
      more: {
        waypoint: { destination: { case: "address", value: { address: ipToBytes("10.0.0.8") } }, hboneMtlsPort: 15008 },
      },
    });
    const mesh = [reviews(), bound, pod("wp-1", "10.0.0.8", gateway)];
    expect(route(mesh, "10.0.0.2", 8080)).toMatchObject({
      endpoints: [{ dial: { ip: "10.0.0.8", port: 15008 }, tunnel: { authority: "10.0.0.2:8080" } }],
    });
    expect(dialled(route(mesh, "10.96.0.1"))).toEqual(["10.0.0.2:15008"]);
  });

  test("reaches its own workloads directly", () => {
    const bound = workloadAddress({
      name: "a",
      ips: ["10.0.0.2"],
      more: {
        waypoint: { destination: { case: "address", value: { address: ipToBytes("10.0.0.1") } }, hboneMtlsPort: 15008 },
      },
    });
    expect(dialled(route([bound], "10.0.0.2", 8080))).toEqual(["10.0.0.2:15008"]);
  });
});

describe("an endpoint known by host name", () => {
  const external = workloadAddress({
    name: "ext",
    hbone: false,
    services: { [REVIEWS]: { 80: 443 } },
    more: { hostname: "ext.example" },
  });

  test("waits for its addresses, then uses one of the asked-for family", () => {
    const waiting = compile([reviews(), external], "10.96.0.1");
    expect(waiting.route).toBeUndefined();
    expect(waiting.dependencies).toContain("dns:ext.example");
    const hosts = { "ext.example": ["2001:db8::1", "192.0.2.9"] };
    expect(dialled(route([reviews(), external], "10.96.0.1", 80, hosts))).toEqual(["192.0.2.9:443"]);
  });

  test("is refused when it has none", () => {
    expect(route([reviews(), external], "10.96.0.1", 80, { "ext.example": [] })).toEqual(REFUSED);
  });
});
