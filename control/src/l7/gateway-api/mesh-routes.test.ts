import { fromJson, toJson } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import type { RouteObject, Service } from "#lib/kube/types.ts";
import { HttpMatchSchema, type Route, RouteSchema } from "#proto/l7_pb.ts";
import { serviceDefinition } from "../../model/service.ts";
import type { ServiceDefinition } from "../../model/service-definition.ts";
import type { ServiceLookup } from "../../model/service-lookup.ts";
import type { Destination } from "../destination.ts";
import { httpRouteFacts } from "./http-route.ts";
import { MeshRoutes } from "./mesh-routes.ts";
import type { RouteKind } from "./route-facts.ts";
import { streamRouteFacts } from "./stream-route.ts";

const DOMAIN = "cluster.local";

function service(
  name: string,
  ports: NonNullable<Service["spec"]>["ports"] = [{ name: "http", port: 80 }],
  namespace = "shop",
) {
  const object: Service = { metadata: { namespace, name }, spec: { clusterIP: "10.0.0.1", ports } };
  return serviceDefinition(object, DOMAIN) as ServiceDefinition;
}

class Mesh {
  readonly services = new Map<string, ServiceDefinition>();
  readonly changedServices: string[] = [];
  readonly changedVerdicts: string[] = [];
  /** What each was told, for its first parent, by whoever asks at once. */
  readonly heard = new Map<string, string | undefined>();
  readonly destinations: Destination[] = [];
  readonly lookup: ServiceLookup = {
    service: (namespace, name) => this.services.get(`${namespace}/${name}`),
    serviceEntry: () => [],
    host: (hostname) => [...this.services.values()].find((each) => each.hostname === hostname),
  };
  /** Names of services that waypoints begin TLS with. */
  readonly beginTls = new Set<string>();
  readonly routes = new MeshRoutes({
    beginsTls: ({ name }) => this.beginTls.has(name),
    services: this.lookup,
    isBound: ({ name }) => name !== "unbound",
    isWaypoint: (namespace, name) => namespace === "shop" && name === "waypoint",
    onService: (key) => this.changedServices.push(key),
    onVerdict: (kind, key) => {
      this.changedVerdicts.push(`${kind}/${key}`);
      this.heard.set(`${kind}/${key}`, this.conditions(kind, key)[0]?.Accepted);
    },
  });

  constructor(...services: ServiceDefinition[]) {
    for (const each of services) this.add(each);
  }

  add(definition: ServiceDefinition): void {
    const key = `${definition.namespace}/${definition.name}`;
    const before = this.services.get(key);
    this.services.set(key, definition);
    this.routes.serviceChanged(before, definition);
  }

  put(
    kind: RouteKind,
    name: string,
    spec: object,
    more: { namespace?: string; createdAt?: string; generation?: number } = {},
  ) {
    const { namespace = "shop", createdAt = "2026-01-01T00:00:00Z", generation = 1 } = more;
    const object: RouteObject = {
      metadata: { namespace, name, uid: `${namespace}-${name}`, generation, creationTimestamp: createdAt },
      spec,
    };
    const facts =
      kind === "HTTPRoute" || kind === "GRPCRoute" ? httpRouteFacts(kind, object) : streamRouteFacts(kind, object);
    this.routes.collections[kind].upsert(facts);
  }

  routing(name: string, port = 80) {
    const definition = this.services.get(`shop/${name}`) as ServiceDefinition;
    return this.routes.routesFor(definition, port, {
      services: this.lookup,
      cluster: (destination) => {
        this.destinations.push(destination);
        return `${destination.hostname.split(".")[0]}:${destination.port}`;
      },
    });
  }

  http(name: string, port = 80): Route[] {
    const routing = this.routing(name, port);
    if (routing?.family !== "http") throw new Error(`no http routes: ${routing?.family}`);
    return routing.routes.map((route) => route.compile(routing.context));
  }

  conditions(kind: RouteKind, key: string) {
    return (this.routes.verdictsOf(kind, key) ?? []).map(({ conditions }) =>
      Object.fromEntries(conditions.map(({ type, status, reason }) => [type, `${status}/${reason}`])),
    );
  }
}

/** When all routes know of the changes of this turn. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

const parent = (name: string, more: object = {}) => ({ group: "", kind: "Service", name, ...more });
const to = (name: string, more: object = {}) => ({ name, port: 80, ...more });
const json = (route: Route | undefined) => route && (toJson(RouteSchema, route) as Record<string, unknown>);
const OK = { Accepted: "True/Accepted", ResolvedRefs: "True/ResolvedRefs" };

describe("routes on a service", () => {
  it("send requests to backends by weight and say so in the status", () => {
    const mesh = new Mesh(service("reviews"), service("reviews-v1"), service("reviews-v2"));
    mesh.put("HTTPRoute", "split", {
      parentRefs: [parent("reviews", { port: 80 })],
      rules: [{ backendRefs: [to("reviews-v1", { weight: 90 }), to("reviews-v2", { weight: 10 })] }],
    });
    expect(mesh.http("reviews").map(json)).toEqual([
      {
        name: "shop.split.0",
        origin: "HTTPRoute/shop/split",
        match: { path: { segmentPrefix: "/" } },
        forward: {
          clusters: [
            { cluster: "reviews-v1:80", weight: 90 },
            { cluster: "reviews-v2:80", weight: 10 },
          ],
          unavailableStatus: 500,
        },
      },
    ]);
    expect(mesh.conditions("HTTPRoute", "shop/split")).toEqual([OK]);
    expect(mesh.routing("reviews-v1")).toBeUndefined();
  });

  it("are tried by exactness of the path, then length, method, headers, parameters, age and name", () => {
    const mesh = new Mesh(service("s"));
    const route = (name: string, matches: object[], createdAt?: string) =>
      mesh.put(
        "HTTPRoute",
        name,
        { parentRefs: [parent("s")], rules: [{ name, matches, backendRefs: [to("s")] }] },
        {
          ...(createdAt === undefined ? {} : { createdAt }),
        },
      );
    route("z-old", [{ path: { value: "/a" } }], "2025-01-01T00:00:00Z");
    route("b", [{ path: { value: "/a" } }]);
    route("a", [{ path: { value: "/a/" } }]);
    route("query", [{ path: { value: "/a" }, queryParams: [{ name: "q", value: "1" }] }]);
    route("headers", [{ path: { value: "/a" }, headers: [{ name: "X", value: "1" }] }]);
    route("method", [{ path: { value: "/a" }, method: "GET" }]);
    route("longer", [{ path: { value: "/a/b" } }]);
    route("exact", [{ path: { type: "Exact", value: "/a" } }]);
    const names = mesh.http("s").map(({ name }) => name.split(".")[1]);
    expect(names).toEqual(["exact", "longer", "method", "headers", "query", "z-old", "a", "b"]);
  });

  it("of the service's namespace serve everybody, those of another one its own clients only", () => {
    const mesh = new Mesh(service("s"), service("mine", undefined, "client"));
    mesh.put("HTTPRoute", "producer", { parentRefs: [parent("s")], rules: [{ backendRefs: [to("s")] }] });
    mesh.put(
      "HTTPRoute",
      "consumer",
      {
        parentRefs: [parent("s", { namespace: "shop" })],
        rules: [{ matches: [{ path: { value: "/x" } }], backendRefs: [to("mine")] }],
      },
      { namespace: "client" },
    );
    const routes = mesh.http("s");
    expect(routes.map(({ match, action }) => [match?.sourceNamespace, action.case])).toEqual([
      ["client", "forward"],
      ["client", "direct"],
      ["", "forward"],
    ]);
    expect(mesh.conditions("HTTPRoute", "client/consumer")).toEqual([OK]);
  });

  it("of a lower kind on the same port lose, and are told when they win again", async () => {
    const mesh = new Mesh(service("s"));
    mesh.put("TCPRoute", "tcp", { parentRefs: [parent("s")], rules: [{ backendRefs: [to("s")] }] });
    expect(mesh.routing("s")?.family).toBe("tcp");
    mesh.changedVerdicts.length = 0;
    mesh.put("HTTPRoute", "http", { parentRefs: [parent("s")], rules: [{ backendRefs: [to("s")] }] });
    await settled();
    expect(mesh.changedVerdicts).toContain("TCPRoute/shop/tcp");
    expect(mesh.heard.get("TCPRoute/shop/tcp")).toBe("False/Conflicted");
    expect(mesh.heard.get("HTTPRoute/shop/http")).toBe("True/Accepted");
    mesh.put("GRPCRoute", "grpc", { parentRefs: [parent("s")], rules: [{ backendRefs: [to("s")] }] });
    expect(mesh.http("s").map(({ origin }) => origin)).toEqual(["GRPCRoute/shop/grpc"]);
    expect(mesh.conditions("HTTPRoute", "shop/http")).toEqual([{ ...OK, Accepted: "False/Conflicted" }]);
    expect(mesh.conditions("TCPRoute", "shop/tcp")).toEqual([{ ...OK, Accepted: "False/Conflicted" }]);
    mesh.changedVerdicts.length = 0;
    mesh.routes.collections.GRPCRoute.remove("shop/grpc");
    await settled();
    expect(mesh.changedVerdicts).toEqual(["HTTPRoute/shop/http"]);
    expect(mesh.conditions("HTTPRoute", "shop/http")).toEqual([OK]);
  });

  it("answer 500 for the share of a backend that is not there, and name the reason", () => {
    const mesh = new Mesh(service("s"), service("tls", [{ name: "https", port: 80 }]));
    mesh.put("HTTPRoute", "r", {
      parentRefs: [parent("s")],
      rules: [
        { matches: [{ path: { value: "/a" } }], backendRefs: [to("s"), to("gone", { weight: 0 })] },
        { matches: [{ path: { value: "/b" } }], backendRefs: [{ group: "x", kind: "Y", name: "z" }] },
        { matches: [{ path: { value: "/c" } }] },
      ],
    });
    const forwards = mesh.http("s").map((route) => (route.action.case === "forward" ? route.action.value : undefined));
    expect(forwards.map((forward) => forward?.clusters.map(({ cluster }) => cluster))).toEqual([
      ["s:80", ""],
      [""],
      [],
    ]);
    expect(forwards.map((forward) => forward?.unavailableStatus)).toEqual([500, 500, 500]);
    expect(mesh.conditions("HTTPRoute", "shop/r")).toEqual([{ ...OK, ResolvedRefs: "False/BackendNotFound" }]);
    mesh.put("HTTPRoute", "r", { parentRefs: [parent("s")], rules: [{ backendRefs: [to("tls")] }] }, { generation: 2 });
    expect(mesh.conditions("HTTPRoute", "shop/r")).toEqual([{ ...OK, ResolvedRefs: "False/UnsupportedProtocol" }]);
  });

  const rewrite = { type: "URLRewrite", urlRewrite: { hostname: "a.example" } };
  const redirect = { type: "RequestRedirect", requestRedirect: { hostname: "a.example" } };
  const foreign = { group: "example.com", kind: "Bucket", name: "b" };
  const NO_HOST = { Accepted: "False/UnsupportedValue", ResolvedRefs: "True/ResolvedRefs" };
  it.each<[string, RouteKind, object, object]>([
    [
      "an HTTPRoute to another namespace, which needs no grant",
      "HTTPRoute",
      { rules: [{ backendRefs: [to("far", { namespace: "other" })] }] },
      OK,
    ],
    [
      "an HTTPRoute to a kind that nobody knows",
      "HTTPRoute",
      { rules: [{ backendRefs: [foreign] }] },
      { ...OK, ResolvedRefs: "False/InvalidKind" },
    ],
    [
      "an HTTPRoute to a port that the service does not have",
      "HTTPRoute",
      { rules: [{ backendRefs: [to("s", { port: 81 })] }] },
      { ...OK, ResolvedRefs: "False/BackendNotFound" },
    ],
    [
      "an HTTPRoute to a Service without a port",
      "HTTPRoute",
      { rules: [{ backendRefs: [{ name: "s" }] }] },
      { ...OK, ResolvedRefs: "False/BackendNotFound" },
    ],
    [
      "an HTTPRoute that mirrors to nobody",
      "HTTPRoute",
      {
        rules: [
          { filters: [{ type: "RequestMirror", requestMirror: { backendRef: to("gone") } }], backendRefs: [to("s")] },
        ],
      },
      { ...OK, ResolvedRefs: "False/BackendNotFound" },
    ],
    [
      "an HTTPRoute with an extension that nobody knows",
      "HTTPRoute",
      { rules: [{ filters: [{ type: "ExtensionRef", extensionRef: foreign }], backendRefs: [to("s")] }] },
      { ...OK, ResolvedRefs: "False/InvalidKind" },
    ],
    ["an HTTPRoute without backends", "HTTPRoute", { rules: [{ backendRefs: [] }] }, OK],
    [
      "an HTTPRoute whose filters exclude each other",
      "HTTPRoute",
      { rules: [{ filters: [redirect, rewrite] }] },
      { ...OK, Accepted: "False/IncompatibleFilters" },
    ],
    [
      "an HTTPRoute that redirects and forwards",
      "HTTPRoute",
      { rules: [{ filters: [redirect], backendRefs: [to("s")] }] },
      { ...OK, Accepted: "False/UnsupportedValue" },
    ],
    [
      "an HTTPRoute of which one rule is possible",
      "HTTPRoute",
      { rules: [{ filters: [redirect, rewrite] }, { backendRefs: [to("s")] }] },
      { ...OK, PartiallyInvalid: "True/UnsupportedValue" },
    ],
    [
      "a GRPCRoute to nobody",
      "GRPCRoute",
      { rules: [{ backendRefs: [to("gone")] }] },
      { ...OK, ResolvedRefs: "False/BackendNotFound" },
    ],
    [
      "a GRPCRoute with a filter of HTTPRoutes",
      "GRPCRoute",
      { rules: [{ filters: [redirect], backendRefs: [to("s")] }] },
      { ...OK, Accepted: "False/UnsupportedValue" },
    ],
    ["a TLSRoute", "TLSRoute", { hostnames: ["a.example"], rules: [{ backendRefs: [to("tls")] }] }, OK],
    [
      "a TLSRoute to nobody",
      "TLSRoute",
      { hostnames: ["a.example"], rules: [{ backendRefs: [to("gone")] }] },
      { ...OK, ResolvedRefs: "False/BackendNotFound" },
    ],
    ["a TLSRoute without a host", "TLSRoute", { rules: [{ backendRefs: [to("tls")] }] }, NO_HOST],
    [
      "a TLSRoute with an address for a host",
      "TLSRoute",
      { hostnames: ["10.0.0.1"], rules: [{ backendRefs: [to("tls")] }] },
      NO_HOST,
    ],
    [
      "a TLSRoute with two rules",
      "TLSRoute",
      { hostnames: ["a.example"], rules: [{ backendRefs: [to("tls")] }, { backendRefs: [to("tls")] }] },
      NO_HOST,
    ],
    ["a TCPRoute", "TCPRoute", { rules: [{ backendRefs: [to("s"), to("tls", { weight: 0 })] }] }, OK],
    [
      "a TCPRoute to a kind that nobody knows",
      "TCPRoute",
      { rules: [{ backendRefs: [foreign] }] },
      { ...OK, ResolvedRefs: "False/InvalidKind" },
    ],
    ["a TCPRoute without a rule", "TCPRoute", { rules: [] }, NO_HOST],
  ])("say it in their conditions: %s", (_, kind, spec, conditions) => {
    const mesh = new Mesh(
      service("s"),
      service("tls", [{ name: "tls", port: 80 }]),
      service("far", undefined, "other"),
    );
    mesh.put(kind, "r", { parentRefs: [parent("s")], ...spec });
    expect(mesh.conditions(kind, "shop/r")).toEqual([conditions]);
  });

  it("may have a backend that speaks TLS where waypoints begin it", () => {
    const mesh = new Mesh(service("s"), service("tls", [{ name: "https", port: 80 }]));
    mesh.beginTls.add("tls");
    mesh.put("HTTPRoute", "r", { parentRefs: [parent("s")], rules: [{ backendRefs: [to("tls")] }] });
    expect(mesh.conditions("HTTPRoute", "shop/r")).toEqual([OK]);
    expect(mesh.http("s")[0]?.action).toMatchObject({ value: { clusters: [{ cluster: "tls:80" }] } });
  });

  it("are accepted on a service without a waypoint, and say that nobody applies them", () => {
    const mesh = new Mesh(service("unbound"));
    mesh.put("HTTPRoute", "r", { parentRefs: [parent("unbound")], rules: [] });
    expect(mesh.conditions("HTTPRoute", "shop/r")).toEqual([OK]);
    expect(mesh.routes.verdictsOf("HTTPRoute", "shop/r")?.[0]?.conditions[0]?.message).toMatch(/behind no waypoint/);
  });

  it("are compiled for the one service that they hang on, however many there are", async () => {
    const services = Array.from({ length: 500 }, (_, index) => service(`s${index}`));
    const mesh = new Mesh(...services);
    const rules = [{ backendRefs: [to("s0")] }];
    for (let index = 0; index < 5_000; index++) {
      mesh.put("HTTPRoute", `r${index}`, { parentRefs: [parent(`s${index % 500}`)], rules });
    }
    await settled();
    mesh.changedServices.length = 0;
    mesh.changedVerdicts.length = 0;
    mesh.put("HTTPRoute", "r7", { parentRefs: [parent("s7")], rules }, { generation: 2 });
    expect(new Set(mesh.changedServices)).toEqual(new Set(["shop/s7.shop.svc.cluster.local"]));
    await settled();
    expect(new Set(mesh.changedVerdicts)).toEqual(new Set(["HTTPRoute/shop/r7"]));
  });

  it("hear of services that come and go", () => {
    const mesh = new Mesh(service("s"));
    mesh.put("HTTPRoute", "r", { parentRefs: [parent("s"), parent("later")], rules: [{ backendRefs: [to("later")] }] });
    expect(mesh.conditions("HTTPRoute", "shop/r")).toEqual([
      { ...OK, ResolvedRefs: "False/BackendNotFound" },
      { Accepted: "False/NoMatchingParent", ResolvedRefs: "False/BackendNotFound" },
    ]);
    mesh.changedServices.length = 0;
    mesh.changedVerdicts.length = 0;
    mesh.add(service("later"));
    expect(new Set(mesh.changedServices)).toEqual(
      new Set(["shop/s.shop.svc.cluster.local", "shop/later.shop.svc.cluster.local"]),
    );
    expect(mesh.changedVerdicts).toContain("HTTPRoute/shop/r");
    expect(mesh.conditions("HTTPRoute", "shop/r")).toEqual([OK, OK]);
  });

  it("are not compiled again because their status was written", () => {
    const mesh = new Mesh(service("s"));
    const spec = { parentRefs: [parent("s")], rules: [{ backendRefs: [to("s")] }] };
    mesh.put("HTTPRoute", "r", spec);
    mesh.changedServices.length = 0;
    mesh.put("HTTPRoute", "r", spec);
    expect(mesh.changedServices).toEqual([]);
  });

  it("hang on one port by number or by name", () => {
    const mesh = new Mesh(
      service("s", [
        { name: "http", port: 80 },
        { name: "other", port: 8080 },
      ]),
    );
    mesh.put("HTTPRoute", "r", {
      parentRefs: [parent("s", { sectionName: "other" })],
      rules: [{ backendRefs: [to("s")] }],
    });
    mesh.put("HTTPRoute", "none", { parentRefs: [parent("s", { port: 81 })], rules: [{ backendRefs: [to("s")] }] });
    expect(mesh.routing("s", 80)).toBeUndefined();
    expect(mesh.http("s", 8080)).toHaveLength(1);
    expect(mesh.conditions("HTTPRoute", "shop/none")[0]?.Accepted).toBe("False/NoMatchingParent");
  });

  it("drop a rule that is not understood and keep the others", () => {
    const mesh = new Mesh(service("s"));
    const bad = { matches: [{ path: { type: "Sideways", value: "/" } }], backendRefs: [to("s")] };
    mesh.put("HTTPRoute", "r", { parentRefs: [parent("s")], rules: [bad, { backendRefs: [to("s")] }] });
    expect(mesh.http("s").map(({ name }) => name)).toEqual(["shop.r.1"]);
    expect(mesh.conditions("HTTPRoute", "shop/r")).toEqual([{ ...OK, PartiallyInvalid: "True/UnsupportedValue" }]);
    mesh.put("HTTPRoute", "r", { parentRefs: [parent("s")], rules: [bad] }, { generation: 2 });
    expect(mesh.routing("s")).toBeUndefined();
    expect(mesh.conditions("HTTPRoute", "shop/r")).toEqual([{ ...OK, Accepted: "False/UnsupportedValue" }]);
  });

  it("are refused by a waypoint as a parent, and leave other Gateways to others", () => {
    const mesh = new Mesh();
    mesh.put("HTTPRoute", "r", { parentRefs: [{ name: "waypoint" }, { name: "ingress" }], rules: [] });
    expect(mesh.conditions("HTTPRoute", "shop/r")).toEqual([{ ...OK, Accepted: "False/NotAllowedByListeners" }]);
  });
});

describe("a rule of an HTTPRoute", () => {
  function rule(spec: object): Record<string, unknown> | undefined {
    const mesh = new Mesh(service("s"), service("m"));
    mesh.put("HTTPRoute", "r", { parentRefs: [parent("s")], rules: [spec] });
    const [verdict] = mesh.routes.verdictsOf("HTTPRoute", "shop/r") ?? [];
    const accepted = verdict?.conditions[0];
    if (accepted?.status !== "True") throw new Error(accepted?.message);
    return json(mesh.http("s")[0]);
  }

  it("matches by regular expression, header, parameter and method", () => {
    const { match } = rule({
      matches: [
        {
          path: { type: "RegularExpression", value: "/v[12]/.*" },
          method: "POST",
          headers: [
            { name: "X-User", type: "RegularExpression", value: "j.*" },
            { name: "x-user", value: "second" },
          ],
          queryParams: [{ name: "Q", value: "1" }],
        },
      ],
    }) as { match: unknown };
    expect(fromJson(HttpMatchSchema, match as never)).toEqual(
      fromJson(HttpMatchSchema, {
        path: { regex: "/v[12]/.*" },
        method: { exact: "POST" },
        headers: [{ name: "x-user", value: { regex: "j.*" } }],
        query: [{ name: "Q", value: { exact: "1" } }],
      }),
    );
    expect(() => rule({ matches: [{ path: { type: "RegularExpression", value: "(?=x)" } }] })).toThrow(/RE2/);
  });

  it("changes headers, rewrites and mirrors, for itself and for one backend", () => {
    const modifier = { set: [{ name: "A", value: "100%" }], add: [{ name: "B", value: "b" }], remove: ["C"] };
    const compiled = rule({
      matches: [{ path: { value: "/old" } }],
      filters: [
        { type: "RequestHeaderModifier", requestHeaderModifier: modifier },
        {
          type: "URLRewrite",
          urlRewrite: { hostname: "h.example", path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/" } },
        },
        { type: "RequestMirror", requestMirror: { backendRef: to("m"), percent: 20 } },
        { type: "RequestMirror", requestMirror: { backendRef: to("m"), fraction: { numerator: 1, denominator: 8 } } },
        { type: "RequestMirror", requestMirror: { backendRef: to("gone") } },
      ],
      backendRefs: [
        to("s", { filters: [{ type: "ResponseHeaderModifier", responseHeaderModifier: { remove: ["X"] } }] }),
      ],
    });
    expect(compiled).toMatchObject({
      requestHeaders: { set: [{ name: "a", value: "100%%" }], add: [{ name: "b", value: "b" }], remove: ["c"] },
      forward: {
        rewrite: { segmentPrefix: "/", authority: "h.example" },
        mirrors: [
          { cluster: "m:80", sharePpm: 200_000 },
          { cluster: "m:80", sharePpm: 125_000 },
        ],
        clusters: [{ responseHeaders: { remove: ["x"] } }],
      },
    });
  });

  it("redirects, leaving out the port where the scheme says it", () => {
    const redirect = (requestRedirect: object) =>
      rule({ filters: [{ type: "RequestRedirect", requestRedirect }] })?.redirect;
    expect(redirect({})).toEqual({ status: 302, portMode: "BY_SCHEME" });
    expect(redirect({ scheme: "https" })).toEqual({ status: 302, scheme: "https", portMode: "BY_SCHEME" });
    expect(redirect({ port: 8443, statusCode: 301 })).toEqual({ status: 301, port: 8443 });
    expect(redirect({ hostname: "x.example", path: { type: "ReplaceFullPath", replaceFullPath: "/p" } })).toEqual({
      status: 302,
      host: "x.example",
      full: "/p",
      portMode: "BY_SCHEME",
    });
    expect(() => redirect({ statusCode: 305 })).toThrow(/statusCode/);
  });

  it("limits time and tries again only what was not begun, or was answered so", () => {
    const forward = (spec: object) => rule({ backendRefs: [to("s")], ...spec })?.forward;
    expect(forward({ timeouts: { request: "1m30s", backendRequest: "500ms" } })).toMatchObject({ timeoutMs: "500" });
    expect(forward({ timeouts: { request: "0s" } })).not.toHaveProperty("timeoutMs");
    expect(() => forward({ timeouts: { request: "1s", backendRequest: "2s" } })).toThrow(/backendRequest/);
    expect(
      forward({
        timeouts: { request: "2s", backendRequest: "1s" },
        retry: { attempts: 3, codes: [503], backoff: "50ms" },
      }),
    ).toMatchObject({
      timeoutMs: "2000",
      retry: {
        attempts: 3,
        codes: [503],
        perTryTimeoutMs: "1000",
        backoffMinMs: "50",
        on: ["CONNECT_FAILURE", "REFUSED_STREAM", "RESET_BEFORE_REQUEST", "RETRIABLE_STATUS_CODES", "PER_TRY_TIMEOUT"],
      },
    });
    expect(forward({ retry: {} })).toMatchObject({ retry: { attempts: 1 } });
    expect(forward({ retry: { attempts: 0 } })).not.toHaveProperty("retry");
  });

  it("lets a filter that nobody knows, or an authorizer that is not there, fail its requests", () => {
    const unknown = { type: "ExtensionRef", extensionRef: { group: "x", kind: "Y", name: "z" } };
    expect(rule({ filters: [unknown], backendRefs: [to("s")] })?.direct).toEqual({ status: 500 });
    const auth = (name: string) => ({
      type: "ExternalAuth",
      externalAuth: { protocol: "HTTP", backendRef: to(name), http: { path: "/check", allowedHeaders: ["X-A"] } },
    });
    expect(rule({ filters: [auth("gone")], backendRefs: [to("s")] })?.direct).toEqual({ status: 500 });
    expect(rule({ filters: [auth("m")], backendRefs: [to("s")] })?.authorizer).toMatchObject({
      cluster: "m:80",
      pathPrefix: "/check",
    });
  });

  it("answers CORS in the way of this API", () => {
    const cors = {
      allowOrigins: ["https://*.example.com", "http://a.b:80"],
      allowMethods: ["*"],
      allowCredentials: true,
    };
    expect(rule({ filters: [{ type: "CORS", cors }] })?.cors).toEqual({
      allowOrigins: [
        { regex: "https://.*\\.example\\.com", ignoreCase: true },
        { exact: "http://a.b:80", ignoreCase: true },
      ],
      allowMethods: ["*"],
      allowCredentials: true,
      maxAgeS: "5",
      gatewayApi: true,
    });
  });

  it("asks for a cluster of its own when sessions persist", () => {
    const mesh = new Mesh(service("s"));
    const sessionPersistence = { absoluteTimeout: "1h", cookie: { name: "sid", lifetimeType: "Permanent" } };
    mesh.put("HTTPRoute", "r", { parentRefs: [parent("s")], rules: [{ sessionPersistence, backendRefs: [to("s")] }] });
    mesh.http("s");
    expect(mesh.destinations[0]?.session).toMatchObject({
      cookie: "sid",
      permanent: true,
      absoluteTimeoutMs: 3_600_000n,
    });
  });
});

describe("GRPCRoutes, TLSRoutes and TCPRoutes", () => {
  it("match methods of gRPC as paths, the longer service first", () => {
    const mesh = new Mesh(service("s"));
    const match = (method: object) => ({ matches: [{ method }], backendRefs: [to("s")] });
    mesh.put("GRPCRoute", "g", {
      parentRefs: [parent("s")],
      rules: [
        match({ method: "Get" }),
        match({ service: "a.B" }),
        match({ service: "a.Longer", method: "Get" }),
        match({ type: "RegularExpression", service: "a\\..*" }),
      ],
    });
    const paths = mesh.http("s").map(({ match: each }) => each?.path?.kind);
    expect(paths).toEqual([
      { case: "exact", value: "/a.Longer/Get" },
      { case: "regex", value: "/(?:a\\..*)/[^/]+" },
      { case: "segmentPrefix", value: "/a.B" },
      { case: "regex", value: "/[^/]+/Get" },
    ]);
    expect(mesh.destinations.every(({ grpc }) => grpc === true)).toBe(true);
  });

  it("choose by server name, whole names first, and close what none matches", () => {
    const mesh = new Mesh(service("s", [{ name: "tls", port: 80 }]));
    mesh.put("TLSRoute", "t", {
      parentRefs: [parent("s")],
      hostnames: ["*.example.com", "*.a.example.com", "x.example.com"],
      rules: [{ backendRefs: [to("s"), to("gone")] }],
    });
    const routing = mesh.routing("s");
    if (routing?.family !== "tls") throw new Error("no tls routes");
    expect(routing.routes.map(({ sni }) => sni[0])).toEqual(["x.example.com", "*.a.example.com", "*.example.com", "*"]);
    expect(routing.routes[0]?.route?.clusters.map(({ cluster }) => cluster)).toEqual(["s:80", ""]);
    expect(routing.routes[3]?.route?.clusters).toEqual([]);
  });

  it("carry TCP by the oldest route alone", () => {
    const mesh = new Mesh(service("s"), service("old"));
    mesh.put("TCPRoute", "a", { parentRefs: [parent("s")], rules: [{ backendRefs: [to("s")] }] });
    mesh.put(
      "TCPRoute",
      "b",
      { parentRefs: [parent("s")], rules: [{ backendRefs: [to("old")] }] },
      { createdAt: "2020-01-01T00:00:00Z" },
    );
    const routing = mesh.routing("s");
    if (routing?.family !== "tcp") throw new Error("no tcp routes");
    expect(routing.routes.map(({ origin }) => origin)).toEqual(["TCPRoute/shop/b"]);
    expect(mesh.conditions("TCPRoute", "shop/a")).toEqual([OK]);
  });
});
