/** Our waypoint's program: what a control plane would send, from a file. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PROXY_CORE, type Program } from "./bed.ts";
import { type Credentials, ISSUER } from "./credentials.ts";
import {
  POLICIES,
  policyPath,
  portOf,
  ROUTES,
  routePath,
  type Scenario,
  scenariosOf,
  UPSTREAM_PORTS,
} from "./scenarios.ts";

export const WEFT_BIN = fileURLToPath(new URL("../../../waypoint/bin/weft-waypoint", import.meta.url));

export function weft(folder: string, credentials: Credentials): Program {
  const scenarios = scenariosOf("weft");
  const path = join(folder, "weft.json");
  writeFileSync(path, JSON.stringify(program(scenarios, credentials)));
  return {
    argv: [WEFT_BIN],
    env: {
      LOCAL_XDS_PATH: path,
      HBONE_ADDR: "",
      XDS_ADDRESS: "",
      CA_ADDRESS: "",
      ADMIN_ADDR: "127.0.0.1:0",
      STATS_ADDR: "127.0.0.1:0",
      READINESS_ADDR: "127.0.0.1:0",
      WEFT_LOOPS: "1",
    },
    cores: [PROXY_CORE],
    port: portOf("weft", scenarios.at(-1) as Scenario),
  };
}

function program(scenarios: readonly Scenario[], credentials: Credentials): object {
  return {
    settings: { trustDomain: "cluster.local" },
    listeners: scenarios.map((scenario) => listener(scenario, credentials)),
    clusters: [
      { name: "http1", httpProtocol: "HTTP1" },
      { name: "http2", httpProtocol: "HTTP2" },
    ],
    endpoints: [endpoints("http1"), endpoints("http2")],
    jwt: [{ name: "bench/jwt", rules: [{ issuer: ISSUER, jwks: credentials.jwks, forward: true }] }],
    policies: Array.from({ length: POLICIES }, (_, index) => policy(index)),
  };
}

function endpoints(cluster: "http1" | "http2"): object {
  return { cluster, endpoints: [{ ip: "127.0.0.1", port: UPSTREAM_PORTS[cluster] }] };
}

function listener(scenario: Scenario, { certificate, key }: Credentials): object {
  return {
    name: scenario.name,
    address: "127.0.0.1",
    port: portOf("weft", scenario),
    ...(scenario.tls ? { tls: { certificateChain: certificate, privateKey: key } } : {}),
    chain: {
      protocol: "HTTP",
      http: { hosts: [{ name: "all", domains: ["*"], routes: routes(scenario) }] },
      ...(scenario.name === "jwt" ? { jwt: ["bench/jwt"] } : {}),
      ...(scenario.name === "policies_10"
        ? { policies: Array.from({ length: POLICIES }, (_, index) => policyName(index)) }
        : {}),
    },
  };
}

function routes({ name, upstream }: Scenario): object[] {
  const forward = { clusters: [{ cluster: upstream, weight: 1 }] };
  const prefixes = name === "routes_1000" ? Array.from({ length: ROUTES }, (_, index) => routePath(index)) : ["/"];
  return prefixes.map((prefix) => ({ name: prefix, match: { path: { prefix } }, forward }));
}

function policyName(index: number): string {
  return `bench/policy-${index}`;
}

function policy(index: number): object {
  const to = [{ paths: [{ prefix: policyPath(index) }], methods: [{ exact: "GET" }] }];
  return { name: policyName(index), namespace: "bench", action: "ALLOW", rules: [{ to }] };
}
