/** What the proxies are asked to do: one listener each, the same in every proxy that can do it. */

export type ScenarioName = "http1" | "routes_1000" | "http2" | "grpc" | "tls" | "jwt" | "policies_10";
export type ProxyName = "weft" | "envoy" | "nginx" | "haproxy" | "node";

export interface Scenario {
  readonly name: ScenarioName;
  /** For people. */
  readonly title: string;
  readonly client: "http1" | "http2" | "grpc";
  readonly tls: boolean;
  /** What the servers behind the proxy speak. */
  readonly upstream: "http1" | "http2";
  readonly path: string;
  readonly proxies: readonly ProxyName[];
}

export const ROUTES = 1000;
export const POLICIES = 10;

const ALL = ["weft", "envoy", "nginx", "haproxy"] as const;
const MESH = ["weft", "envoy"] as const;
const HTTP1 = { client: "http1", tls: false, upstream: "http1" } as const;

export const SCENARIOS: readonly Scenario[] = [
  { name: "http1", title: "HTTP/1.1 keep-alive, 1 route", ...HTTP1, path: "/", proxies: [...ALL, "node"] },
  // The last of the routes: the one that a walk through them reaches last.
  { name: "routes_1000", title: "the same, 1,000 routes", ...HTTP1, path: routePath(ROUTES - 1), proxies: ALL },
  { name: "http2", title: "HTTP/2 to HTTP/1.1", ...HTTP1, client: "http2", path: "/", proxies: ALL },
  {
    name: "grpc",
    title: "gRPC unary",
    client: "grpc",
    tls: false,
    upstream: "http2",
    path: "/bench.Echo/Unary",
    proxies: ALL,
  },
  { name: "tls", title: "HTTP/1.1 in TLS 1.3", ...HTTP1, tls: true, path: "/", proxies: ALL },
  { name: "jwt", title: "HTTP/1.1 with a token", ...HTTP1, path: "/", proxies: MESH },
  // Here, too, what allows is the last.
  {
    name: "policies_10",
    title: "HTTP/1.1, 10 policies",
    ...HTTP1,
    path: policyPath(POLICIES - 1),
    proxies: MESH,
  },
];

export function routePath(index: number): string {
  return `/service-${index}/`;
}

export function policyPath(index: number): string {
  return `/team-${index}/`;
}

/** Servers behind the proxies. */
export const UPSTREAM_PORTS = { http1: 21000, http2: 21001 } as const;
export const SPARE_PORTS = { echo: 21002, stop: 21003 } as const;

const FIRST_PORT: Readonly<Record<ProxyName, number>> = {
  weft: 21100,
  envoy: 21200,
  nginx: 21300,
  haproxy: 21400,
  node: 21500,
};

/** Where a proxy listens for a scenario. */
export function portOf(proxy: ProxyName, scenario: Scenario): number {
  return FIRST_PORT[proxy] + SCENARIOS.indexOf(scenario);
}

export function scenariosOf(proxy: ProxyName): readonly Scenario[] {
  return SCENARIOS.filter(({ proxies }) => proxies.includes(proxy));
}
