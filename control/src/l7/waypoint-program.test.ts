import { fromBinary, toJson } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ClusterSchema,
  DestinationSchema,
  EndpointsSchema,
  type Route,
  RouteGroupSchema,
  SettingsSchema,
} from "#proto/l7_pb.ts";
import { MESH_SETTINGS } from "../../../test/helpers/mesh-settings.ts";
import type { Problem } from "../model/fields.ts";
import { gatewayFacts } from "../model/gateway.ts";
import { MeshModel } from "../model/mesh-model.ts";
import { podFacts } from "../model/pod.ts";
import { serviceDefinition } from "../model/service.ts";
import { envoyFilterFacts } from "./envoy-filter/envoy-filter.ts";
import { destinationRuleFacts } from "./istio/destination-rule.ts";
import { L7World } from "./l7-world.ts";
import { WaypointProgram } from "./waypoint-program.ts";

const REVIEWS = "default/reviews.default.svc.cluster.local";
const HOST = "reviews.default.svc.cluster.local";

class Mesh {
  readonly model = new MeshModel(MESH_SETTINGS);
  readonly world = new L7World(this.model);
  #age = 0;

  service(name: string, ports: object[] = [{ name: "http", port: 9080 }], namespace = "default"): void {
    const spec = { clusterIP: "10.96.0.1", selector: { app: name }, ports };
    const definition = serviceDefinition({ metadata: { namespace, name }, spec } as never, "cluster.local");
    if (definition !== undefined) this.model.services.upsert(definition);
  }

  pod(name: string, app: string, version: string, ip: string, enrolled = true): void {
    const annotations = enrolled ? { "ambient.istio.io/redirection": "enabled" } : {};
    const facts = podFacts({
      metadata: { namespace: "default", name, labels: { app, version }, annotations },
      spec: { serviceAccountName: `bookinfo-${app}` },
      status: { phase: "Running", podIP: ip, conditions: [{ type: "Ready", status: "True" }] },
    });
    if (facts !== undefined) this.model.pods.upsert(facts);
  }

  virtualService(name: string, spec: object, namespace = "default"): Problem[] {
    const problems: Problem[] = [];
    const facts = this.world.virtualServiceReader.read({ metadata: this.#meta(name, namespace), spec }, problems);
    if (facts !== undefined) this.world.virtualServices.all.upsert(facts);
    return problems;
  }

  destinationRule(name: string, spec: object, namespace = "default"): Problem[] {
    const problems: Problem[] = [];
    const facts = destinationRuleFacts({ metadata: this.#meta(name, namespace), spec }, "cluster.local", problems);
    if (facts !== undefined) this.world.destinationRules.all.upsert(facts);
    return problems;
  }

  program(services: readonly string[] = [REVIEWS], workloads: readonly string[] = []): WaypointProgram {
    this.world.modelChanged(this.model.flush());
    const binding = { services: new Set(services), workloads: new Set(workloads) };
    const program = new WaypointProgram(
      this.world,
      { namespace: "default", name: "waypoint", gatewayClass: "istio-waypoint" },
      binding,
    );
    program.flush();
    return program;
  }

  #meta(name: string, namespace: string) {
    this.#age += 1;
    return { name, namespace, creationTimestamp: new Date(this.#age * 1_000).toISOString() };
  }
}

function bookinfo(): Mesh {
  const mesh = new Mesh();
  mesh.service("reviews");
  mesh.service("ratings");
  mesh.pod("reviews-v1", "reviews", "v1", "10.0.0.1");
  mesh.pod("reviews-v2", "reviews", "v2", "10.0.0.2", false);
  mesh.destinationRule("reviews", {
    host: "reviews",
    subsets: [
      { name: "v1", labels: { version: "v1" } },
      { name: "v2", labels: { version: "v2" } },
    ],
  });
  return mesh;
}

function chain(program: WaypointProgram, key = REVIEWS, port = 9080) {
  const resource = program.tables.Destination.get(key);
  if (resource === undefined) throw new Error(`no destination ${key}`);
  const found = fromBinary(DestinationSchema, resource.message).ports.find((each) => each.port === port)?.chain;
  if (found === undefined) throw new Error(`no port ${port}`);
  return found;
}

function routes(program: WaypointProgram, key = REVIEWS, port = 9080): Route[] {
  const host = chain(program, key, port).http?.hosts[0];
  const grouped = (host?.routeGroups ?? []).flatMap((name) => {
    const group = program.tables.RouteGroup.get(name);
    if (group === undefined) throw new Error(`no group ${name}`);
    return fromBinary(RouteGroupSchema, group.message).routes;
  });
  return [...grouped, ...(host?.routes ?? [])];
}

function forward(route: Route | undefined) {
  if (route?.action.case !== "forward") throw new Error("does not forward");
  return route.action.value;
}

function clustersOf(route: Route | undefined): [string, number][] {
  return forward(route).clusters.map(({ cluster, weight }) => [cluster, weight]);
}

function cluster(program: WaypointProgram, name: string) {
  const resource = program.tables.Cluster.get(name);
  return resource && fromBinary(ClusterSchema, resource.message);
}

function endpoints(program: WaypointProgram, name: string) {
  const resource = program.tables.Endpoints.get(name);
  return resource && fromBinary(EndpointsSchema, resource.message).endpoints;
}

const to = (subset: string, weight?: number) => ({
  destination: { host: "reviews", subset },
  ...(weight === undefined ? {} : { weight }),
});

describe("the settings of a waypoint", () => {
  it("tell servers who the client is where its Gateway asks for that", () => {
    const mesh = bookinfo();
    const program = mesh.program();
    const xfcc = () => {
      const message = program.tables.Settings.get("settings")?.message ?? new Uint8Array();
      return fromBinary(SettingsSchema, message).xfccFromPeer;
    };
    const annotate = (value: string) => {
      const annotations = { "ambient.istio.io/xfcc-include-client-identity": value };
      const metadata = { namespace: "default", name: "waypoint", annotations };
      mesh.model.gateways.upsert(gatewayFacts({ metadata, spec: { gatewayClassName: "istio-waypoint" } }));
      return program.flush().size;
    };
    expect(xfcc()).toBe(false);
    expect(annotate("true")).toBe(1);
    expect(xfcc()).toBe(true);
    expect(annotate("true")).toBe(0);
    annotate("false");
    expect(xfcc()).toBe(false);
  });
});

describe("a service without a VirtualService", () => {
  it("goes to its own endpoints, by HBONE where they are enrolled and in the clear where not", () => {
    const program = bookinfo().program();
    expect(clustersOf(routes(program)[0])).toEqual([[`inbound-vip|9080|http|${HOST}`, 1]]);
    expect(endpoints(program, `inbound-vip|9080|http|${HOST}`)).toMatchObject([
      {
        ip: "10.0.0.1",
        port: 9080,
        tunnel: true,
        identities: ["spiffe://cluster.local/ns/default/sa/bookinfo-reviews"],
      },
      { ip: "10.0.0.2", port: 9080, tunnel: false, identities: [] },
    ]);
  });

  it("retries twice, never an answer of the application, and has no timeout", () => {
    const { retry, timeoutMs } = forward(routes(bookinfo().program())[0]);
    expect(retry).toMatchObject({ attempts: 2, on: [0, 1, 2, 3, 4], codes: [], avoidPreviousHosts: true });
    expect(timeoutMs).toBe(0n);
  });

  it("sniffs a port without a name, except where servers speak first", () => {
    const mesh = new Mesh();
    mesh.service("reviews", [{ port: 80 }, { port: 3306 }, { name: "tcp-x", port: 90 }, { name: "grpc", port: 91 }]);
    const program = mesh.program();
    expect([80, 3306, 90, 91].map((port) => chain(program, REVIEWS, port).protocol)).toEqual([0, 2, 2, 1]);
  });
});

describe("the routes of VirtualServices at a waypoint", () => {
  it("send jason to v2 and the others to v1", () => {
    const mesh = bookinfo();
    expect(
      mesh.virtualService("reviews", {
        hosts: ["reviews"],
        http: [{ match: [{ headers: { "end-user": { exact: "jason" } } }], route: [to("v2")] }, { route: [to("v1")] }],
      }),
    ).toEqual([]);
    const program = mesh.program();
    expect(routes(program).map(clustersOf)).toEqual([
      [[`inbound-vip|9080|http/v2|${HOST}`, 1]],
      [[`inbound-vip|9080|http/v1|${HOST}`, 1]],
    ]);
    expect(endpoints(program, `inbound-vip|9080|http/v2|${HOST}`)?.map(({ ip }) => ip)).toEqual(["10.0.0.2"]);
  });

  it("keep weight 0 among several, which is never drawn, and ignore the weight of a single one", () => {
    const mesh = bookinfo();
    mesh.virtualService("reviews", {
      hosts: ["reviews"],
      http: [{ match: [{ uri: { prefix: "/a" } }], route: [to("v1", 100), to("v2", 0)] }, { route: [to("v2", 7)] }],
    });
    expect(routes(mesh.program()).map(clustersOf)).toEqual([
      [
        [`inbound-vip|9080|http/v1|${HOST}`, 100],
        [`inbound-vip|9080|http/v2|${HOST}`, 0],
      ],
      [[`inbound-vip|9080|http/v2|${HOST}`, 1]],
    ]);
  });

  it("merge in creation order, and nothing comes after a rule that takes everything", () => {
    const mesh = bookinfo();
    mesh.virtualService("z-first", {
      hosts: ["reviews"],
      http: [{ name: "one", match: [{ uri: { prefix: "/a" } }], route: [to("v1")] }],
    });
    mesh.virtualService("a-second", {
      hosts: ["reviews"],
      http: [
        { name: "two", route: [to("v2")] },
        { name: "never", route: [to("v1")] },
      ],
    });
    expect(routes(mesh.program()).map(({ name }) => name)).toEqual(["one", "two"]);
  });

  it("name an unknown subset without making a cluster of it", () => {
    const mesh = bookinfo();
    mesh.virtualService("reviews", { hosts: ["reviews"], http: [{ route: [to("v9")] }] });
    const program = mesh.program();
    const name = `inbound-vip|9080|http/v9|${HOST}`;
    expect(clustersOf(routes(program)[0])).toEqual([[name, 1]]);
    expect(cluster(program, name)).toBeUndefined();
  });

  it("leave a subset without endpoints as a cluster without endpoints", () => {
    const mesh = bookinfo();
    mesh.destinationRule("more", { host: "reviews", subsets: [{ name: "v3", labels: { version: "v3" } }] });
    mesh.virtualService("reviews", { hosts: ["reviews"], http: [{ route: [to("v3")] }] });
    expect(endpoints(mesh.program(), `inbound-vip|9080|http/v3|${HOST}`)).toEqual([]);
  });

  it("never fail without a percentage, and with one to a ten-thousandth", () => {
    const mesh = bookinfo();
    mesh.virtualService("reviews", {
      hosts: ["reviews"],
      http: [
        { match: [{ uri: { exact: "/a" } }], fault: { abort: { httpStatus: 555 } }, route: [to("v1")] },
        { fault: { abort: { httpStatus: 555, percentage: { value: 0.0001 } } }, route: [to("v1")] },
      ],
    });
    expect(routes(mesh.program()).map(({ fault }) => [fault?.abortStatus, fault?.abortPpm])).toEqual([
      [555, 0],
      [555, 1],
    ]);
  });

  it("match plain prefixes and put the rewrite in place of what matched", () => {
    const mesh = bookinfo();
    mesh.virtualService("reviews", {
      hosts: ["reviews"],
      http: [{ match: [{ uri: { prefix: "/foo" } }], rewrite: { uri: "/" }, route: [to("v1")] }],
    });
    const [route] = routes(mesh.program());
    expect(route?.match?.path?.kind).toEqual({ case: "prefix", value: "/foo" });
    expect(forward(route).rewrite?.path).toEqual({ case: "prefix", value: "/" });
  });

  it("leave out blocks with sourceLabels, unless gateways stand beside them", () => {
    const mesh = bookinfo();
    const sourceLabels = { app: "x" };
    mesh.virtualService("reviews", {
      hosts: ["reviews"],
      http: [
        { name: "labels", match: [{ sourceLabels }], route: [to("v1")] },
        { name: "both", match: [{ sourceLabels, gateways: ["mesh"] }], route: [to("v1")] },
        { name: "other", match: [{ gateways: ["edge"] }], route: [to("v1")] },
      ],
    });
    expect(routes(mesh.program()).map(({ name }) => name)).toEqual(["both"]);
  });

  it("do not count when they are for a gateway or for nobody here", () => {
    const mesh = bookinfo();
    mesh.virtualService("edge", { hosts: ["reviews"], gateways: ["edge"], http: [{ route: [to("v1")] }] });
    mesh.virtualService("far", { hosts: [HOST], http: [{ route: [to("v1")] }] }, "elsewhere");
    expect(routes(mesh.program()).map(({ name }) => name)).toEqual(["default"]);
    expect(clustersOf(routes(mesh.program())[0])).toEqual([[`inbound-vip|9080|http|${HOST}`, 1]]);
  });

  it("take the rules of a delegate", () => {
    const mesh = bookinfo();
    mesh.virtualService("root", {
      hosts: ["reviews"],
      http: [{ name: "r", match: [{ uri: { prefix: "/api" } }], timeout: "3s", delegate: { name: "inner" } }],
    });
    mesh.virtualService("inner", {
      http: [
        { name: "a", match: [{ uri: { prefix: "/api/a" } }], route: [to("v1")] },
        { name: "b", match: [{ uri: { prefix: "/other" } }], route: [to("v1")] },
        { name: "c", timeout: "1s", route: [to("v2")] },
      ],
    });
    const found = routes(mesh.program());
    expect(found.map(({ name, match }) => [name, match?.path?.kind.value])).toEqual([
      ["r-a", "/api/a"],
      ["r-c", "/api"],
    ]);
    expect(found.map((route) => forward(route).timeoutMs)).toEqual([3_000n, 1_000n]);
  });
});

describe("DestinationRules at a waypoint", () => {
  it("lose the blocks above in the settings of a port, and inherit them in a subset", () => {
    const other = new Mesh();
    other.service("reviews", [
      { name: "http", port: 9080 },
      { name: "http-2", port: 9081 },
    ]);
    other.destinationRule("own", {
      host: "reviews",
      trafficPolicy: {
        loadBalancer: { simple: "RANDOM" },
        connectionPool: { http: { http1MaxPendingRequests: 1 } },
        portLevelSettings: [{ port: { number: 9081 }, outlierDetection: {} }],
      },
      subsets: [
        { name: "v1", labels: { version: "v1" }, trafficPolicy: { connectionPool: { tcp: { maxConnections: 3 } } } },
      ],
    });
    other.virtualService("reviews", {
      hosts: ["reviews"],
      http: [
        { match: [{ port: 9081 }], route: [{ destination: { host: "reviews", port: { number: 9081 } } }] },
        { route: [{ destination: { host: "reviews", subset: "v1", port: { number: 9080 } } }] },
      ],
    });
    const program = other.program();
    expect(cluster(program, `inbound-vip|9081|http|${HOST}`)).toMatchObject({
      loadBalancer: { algorithm: 0 },
      pool: { maxPendingRequests: 0 },
      outlier: { consecutive5xx: 5, maxEjectionPercent: 10 },
    });
    expect(cluster(program, `inbound-vip|9080|http/v1|${HOST}`)).toMatchObject({
      loadBalancer: { algorithm: 2 },
      pool: { maxPendingRequests: 0, maxConnections: 3 },
    });
  });

  it("are never merged across namespaces: the waypoint's own is the one", () => {
    const mesh = new Mesh();
    mesh.service("reviews");
    mesh.destinationRule("root", { host: HOST, trafficPolicy: { loadBalancer: { simple: "RANDOM" } } }, "istio-system");
    mesh.destinationRule("own", { host: HOST, trafficPolicy: { connectionPool: { tcp: { maxConnections: 9 } } } });
    expect(cluster(mesh.program(), `inbound-vip|9080|http|${HOST}`)).toMatchObject({
      loadBalancer: { algorithm: 0 },
      pool: { maxConnections: 9 },
    });
  });

  it("fail over between localities only with outlier detection", () => {
    const mesh = new Mesh();
    mesh.service("reviews");
    const name = `inbound-vip|9080|http|${HOST}`;
    expect(cluster(mesh.program(), name)?.loadBalancer?.locality).toBeUndefined();
    mesh.destinationRule("own", { host: HOST, trafficPolicy: { outlierDetection: {} } });
    expect(cluster(mesh.program(), name)?.loadBalancer?.locality?.failover).toBe(true);
  });

  it("stay in the tunnel when they say DISABLE, and go only to the mesh when they say ISTIO_MUTUAL", () => {
    const name = `inbound-vip|9080|http|${HOST}`;
    const tunnels = (mode: string) => {
      const other = new Mesh();
      other.service("reviews");
      other.pod("reviews-v1", "reviews", "v1", "10.0.0.1");
      other.pod("reviews-v2", "reviews", "v2", "10.0.0.2", false);
      other.destinationRule("a", { host: HOST, trafficPolicy: { tls: { mode } } });
      return endpoints(other.program(), name)?.map(({ ip, tunnel }) => [ip, tunnel]);
    };
    expect(tunnels("DISABLE")).toEqual([
      ["10.0.0.1", true],
      ["10.0.0.2", false],
    ]);
    expect(tunnels("ISTIO_MUTUAL")).toEqual([["10.0.0.1", true]]);
  });
});

describe("EnvoyFilters at a waypoint", () => {
  const limit = (applyTo: string, value: object, match: object = {}) => ({ applyTo, match, patch: { value } });
  const local = (tokens: number) => ({
    "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
    token_bucket: { max_tokens: tokens, fill_interval: "1s" },
    filter_enabled: { default_value: { numerator: 100 } },
    filter_enforced: { default_value: { numerator: 100 } },
  });
  const NAME = "envoy.filters.http.local_ratelimit";
  const put = (mesh: Mesh, name: string, target: object, patch: object) => {
    const problems: Problem[] = [];
    const spec = { targetRefs: [target], configPatches: [patch] };
    mesh.world.envoyFilters.all.upsert(
      envoyFilterFacts({ metadata: { namespace: "default", name }, spec }, "istio-system", problems),
    );
    expect(problems).toEqual([]);
  };
  const GATEWAY = { kind: "Gateway", group: "gateway.networking.k8s.io", name: "waypoint" };
  const SERVICE = { kind: "Service", group: "", name: "reviews" };

  it("limit chains of services and of workloads, the service's own before the waypoint's", () => {
    const mesh = bookinfo();
    put(mesh, "all", GATEWAY, limit("HTTP_FILTER", { name: NAME, typed_config: local(5) }));
    const uid = "Kubernetes//Pod/default/reviews-v1";
    const program = mesh.program([REVIEWS], [uid]);
    expect(chain(program).rateLimits?.local?.tokens).toBe(5);
    expect(chain(program, uid).rateLimits?.local?.tokens).toBe(5);
    put(mesh, "own", SERVICE, limit("HTTP_FILTER", { name: NAME, typed_config: local(7) }));
    program.flush();
    expect(chain(program).rateLimits?.local?.tokens).toBe(7);
    expect(chain(program, uid).rateLimits?.local?.tokens).toBe(5);
    mesh.world.envoyFilters.all.remove("default/own");
    mesh.world.envoyFilters.all.remove("default/all");
    program.flush();
    expect(chain(program).rateLimits).toBeUndefined();
    expect(chain(program, uid).rateLimits).toBeUndefined();
  });

  it("limit the routes that they name, and no others after it", () => {
    const mesh = bookinfo();
    mesh.virtualService("reviews", {
      hosts: ["reviews"],
      http: [
        { name: "dear", match: [{ uri: { prefix: "/dear" } }], route: [{ destination: { host: "reviews" } }] },
        { name: "cheap", route: [{ destination: { host: "reviews" } }] },
      ],
    });
    const program = mesh.program();
    const limits = () => routes(program).map(({ name, rateLimits }) => [name, rateLimits?.local?.tokens]);
    const match = { routeConfiguration: { vhost: { route: { name: "dear" } } } };
    put(mesh, "own", SERVICE, limit("HTTP_ROUTE", { typed_per_filter_config: { [NAME]: local(1) } }, match));
    program.flush();
    expect(limits()).toEqual([
      ["dear", 1],
      ["cheap", undefined],
    ]);
    expect(chain(program).rateLimits).toBeUndefined();
    mesh.world.envoyFilters.all.remove("default/own");
    program.flush();
    expect(limits()).toEqual([
      ["dear", undefined],
      ["cheap", undefined],
    ]);
  });
});

describe("a program after edits", () => {
  const edit = fc.record({
    kind: fc.constantFrom("virtualService", "destinationRule", "pod", "remove"),
    name: fc.constantFrom("a", "b", "c"),
    host: fc.constantFrom("reviews", "ratings", "*.default.svc.cluster.local"),
    subset: fc.constantFrom("v1", "v2"),
    hash: fc.boolean(),
  });

  it("is what it would be from scratch", () => {
    fc.assert(
      fc.property(fc.array(edit, { maxLength: 12 }), (edits) => {
        const keys = [REVIEWS, "default/ratings.default.svc.cluster.local"];
        const mesh = bookinfo();
        const program = mesh.program(keys);
        for (const { kind, name, host, subset, hash } of edits) {
          if (kind === "virtualService") mesh.virtualService(name, { hosts: [host], http: [{ route: [to(subset)] }] });
          else if (kind === "pod") mesh.pod(name, "reviews", subset, `10.0.1.${name.charCodeAt(0)}`, hash);
          else if (kind === "destinationRule") {
            const policy = hash
              ? { loadBalancer: { consistentHash: { useSourceIp: true } } }
              : { outlierDetection: {} };
            mesh.destinationRule(name, {
              host,
              trafficPolicy: policy,
              subsets: [{ name: subset, labels: { version: subset } }],
            });
          } else mesh.world.virtualServices.all.remove(`default/${name}`);
          mesh.world.modelChanged(mesh.model.flush());
          program.flush();
        }
        expect(dump(program)).toEqual(dump(mesh.program(keys)));
      }),
      { numRuns: 60 },
    );
  });

  it("pushes one group of routes and its name after an edit of one of 5,000 routes", () => {
    const mesh = bookinfo();
    const rule = (index: number, timeout = "1s") => ({
      match: [{ uri: { prefix: `/p${index}/` } }],
      timeout,
      route: [to("v1")],
    });
    for (let index = 0; index < 5_000; index++)
      mesh.virtualService(`vs-${index}`, { hosts: ["reviews"], http: [rule(index)] });
    const program = mesh.program();
    program.flush();
    mesh.virtualService("vs-7", { hosts: ["reviews"], http: [rule(7, "2s")] });
    const changes = program.flush();
    expect([...changes.keys()].map((type) => type.slice(type.lastIndexOf(".") + 1))).toEqual([
      "RouteGroup",
      "Destination",
    ]);
    const bytes = [...changes].flatMap(([type, { changed }]) =>
      [...changed].map((name) => program.byType.get(type)?.get(name)?.encoded.length ?? 0),
    );
    // 200 of 5,000 routes at most: the one that is another now may be a boundary of groups, or have been one.
    expect(bytes.reduce((sum, each) => sum + each, 0)).toBeLessThan(60_000);
    expect(routes(program)).toHaveLength(5_000);
  });

  it("has, in groups, the routes that there are after any edits, and no group that nobody names", () => {
    const edit = fc.record({
      at: fc.nat({ max: 199 }),
      timeout: fc.integer({ min: 1, max: 9 }),
      gone: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(fc.array(edit, { maxLength: 40 }), { minLength: 1, maxLength: 4 }), (rounds) => {
        const mesh = bookinfo();
        const put = (index: number, timeout: string) =>
          mesh.virtualService(`vs-${index}`, {
            hosts: ["reviews"],
            http: [{ match: [{ uri: { prefix: `/p${index}/` } }], timeout, route: [to("v1")] }],
          });
        for (let index = 0; index < 150; index++) put(index, "1s");
        const program = mesh.program();
        for (const round of rounds) {
          for (const { at, timeout, gone } of round) {
            if (gone) mesh.world.virtualServices.all.remove(`default/vs-${at}`);
            else put(at, `${timeout}s`);
          }
          program.flush();
        }
        const fresh = mesh.program();
        expect(routes(program)).toEqual(routes(fresh));
        expect([...program.tables.RouteGroup.names()].sort()).toEqual([...fresh.tables.RouteGroup.names()].sort());
      }),
      { numRuns: 15 },
    );
  });
});

function dump(program: WaypointProgram): unknown {
  return {
    destinations: [...program.tables.Destination.values()]
      .map(({ message }) => toJson(DestinationSchema, fromBinary(DestinationSchema, message)))
      .sort(byName),
    clusters: [...program.tables.Cluster.values()]
      .map(({ message }) => toJson(ClusterSchema, fromBinary(ClusterSchema, message)))
      .sort(byName),
    endpoints: [...program.tables.Endpoints.values()]
      .map(({ message }) => toJson(EndpointsSchema, fromBinary(EndpointsSchema, message)))
      .sort(byName),
  };
}

function byName(a: unknown, b: unknown): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1;
}
