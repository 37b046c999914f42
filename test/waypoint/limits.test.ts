/** Rate limits of a waypoint: its own, and those of a service that it asks. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { program, WaypointBed } from "./waypoint-bed.ts";

const LOCAL = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
const GLOBAL = "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit";
const ALWAYS = "{runtime_key: always, default_value: {numerator: 100, denominator: HUNDRED}}";
const WEB = 'targetRefs: [{kind: Service, group: "", name: web}]';
const GATEWAY = "targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: waypoint}]";

function filter(name: string, targets: string, patches: string): string {
  return `apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: ${name}, namespace: shop}
spec:
  ${targets}
  configPatches: ${patches}
`;
}

/** As Istio's task about rate limits writes them. */
const INSERT = `applyTo: HTTP_FILTER
    match: {context: ANY, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}}`;
const localFilter = (tokens: number) => `
  - ${INSERT}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.local_ratelimit
        typed_config:
          "@type": type.googleapis.com/udpa.type.v1.TypedStruct
          type_url: ${LOCAL}
          value:
            stat_prefix: http_local_rate_limiter
            token_bucket: {max_tokens: ${tokens}, tokens_per_fill: ${tokens}, fill_interval: 3600s}
            filter_enabled: ${ALWAYS}
            filter_enforced: ${ALWAYS}
            response_headers_to_add: [{append: false, header: {key: x-local-rate-limit, value: "true"}}]`;
const globalFilter = (denies: boolean) => `
  - ${INSERT}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.ratelimit
        typed_config:
          "@type": ${GLOBAL}
          domain: shop
          failure_mode_deny: ${denies}
          timeout: 2s
          rate_limit_service:
            grpc_service: {envoy_grpc: {cluster_name: "outbound|8081||limiter.shop.svc.cluster.local", authority: limiter}}
            transport_api_version: V3
  - applyTo: VIRTUAL_HOST
    match: {context: ANY, routeConfiguration: {vhost: {name: "inbound|http|8080", route: {action: ANY}}}}
    patch:
      operation: MERGE
      value:
        rate_limits:
        - actions: [{request_headers: {header_name: ":path", descriptor_key: PATH}}, {generic_key: {descriptor_value: web}}]
        - actions:
          - header_value_match:
              descriptor_value: staff
              headers: [{name: x-staff, string_match: {prefix: "y"}}]
          - remote_address: {}
          - request_headers: {header_name: x-absent, descriptor_key: absent, skip_if_absent: true}
        - actions: [{request_headers: {header_name: x-absent, descriptor_key: absent}}]`;

describe("rate limits of a waypoint", () => {
  let bed: WaypointBed;

  beforeAll(async () => {
    bed = await WaypointBed.start("t-limits");
    await bed.app("limiter", [program("limiter"), "8081"], { ports: { grpc: 8081 } });
    await bed.ready("limiter");
    await bed.apply(`apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: logs, namespace: shop}
spec: {accessLogging: [{providers: [{name: envoy}]}]}
`);
  });
  afterAll(() => bed?.stop());

  const logOf = (path: string) => bed.line(`the log of ${path}`, "waypoint", (line) => line.includes(` ${path} `));
  const condition = async (name: string) => {
    const path = 'jsonpath={.status.conditions[?(@.type=="WaypointAccepted")].message}';
    return bed.kubectl("get", "envoyfilter", "-n", "shop", name, "-o", path);
  };

  it("limits by a bucket of its own, with Envoy's body, the filter's header and flag RL", async () => {
    await bed.apply(filter("local", WEB, localFilter(3)));
    const refused = await bed.becomes("the limit", ({ status }) => status === 429, "/local");
    expect(refused.body).toBe("local_rate_limited");
    expect(refused.headers["x-local-rate-limit"]).toBe("true");
    await bed.ask("/too-much");
    expect(await logOf("/too-much")).toContain('"GET /too-much HTTP/1.1" 429 RL local_rate_limited ');
    await eventually("the condition", async () => (await condition("local")) === "enforced by waypoints", 30_000);
    await bed.kubectl("delete", "envoyfilter", "-n", "shop", "local");
    await bed.becomes("the way back", ({ status }) => status === 200, "/local");
  });

  it("has buckets for descriptors, which only what is one takes of", async () => {
    const descriptors = `
  - ${INSERT}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.local_ratelimit
        typed_config:
          "@type": ${LOCAL}
          stat_prefix: s
          token_bucket: {max_tokens: 1000, fill_interval: 3600s}
          filter_enabled: ${ALWAYS}
          filter_enforced: ${ALWAYS}
          descriptors:
          - entries: [{key: PATH, value: /rare}]
            token_bucket: {max_tokens: 2, fill_interval: 3600s}
  - applyTo: VIRTUAL_HOST
    match: {context: ANY, routeConfiguration: {vhost: {name: "inbound|http|8080", route: {action: ANY}}}}
    patch: {operation: MERGE, value: {rate_limits: [{actions: [{request_headers: {header_name: ":path", descriptor_key: PATH}}]}]}}`;
    await bed.apply(filter("described", WEB, descriptors));
    const refused = await bed.becomes("the limit", ({ status }) => status === 429, "/rare");
    expect(refused.body).toBe("local_rate_limited");
    for (let i = 0; i < 3; ++i) expect((await bed.ask("/common")).status).toBe(200);
    expect((await bed.ask("/rare")).status).toBe(429);
    await bed.kubectl("delete", "envoyfilter", "-n", "shop", "described");
    await bed.becomes("the way back", ({ status }) => status === 200, "/rare");
  });

  it("gives routes buckets of their own", async () => {
    await bed.apply(`apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - {name: dear, match: [{uri: {prefix: /dear}}], route: [{destination: {host: web}}]}
  - {name: rest, route: [{destination: {host: web}}]}
`);
    const route = `
  - ${INSERT}
    patch:
      operation: INSERT_BEFORE
      value: {name: envoy.filters.http.local_ratelimit, typed_config: {"@type": ${LOCAL}, stat_prefix: s}}
  - applyTo: HTTP_ROUTE
    match: {context: ANY, routeConfiguration: {vhost: {name: "inbound|http|8080", route: {name: dear}}}}
    patch:
      operation: MERGE
      value:
        typed_per_filter_config:
          envoy.filters.http.local_ratelimit:
            "@type": ${LOCAL}
            stat_prefix: s
            token_bucket: {max_tokens: 1, fill_interval: 3600s}
            status: {code: 503}
            filter_enabled: ${ALWAYS}
            filter_enforced: ${ALWAYS}`;
    await bed.apply(filter("of-route", GATEWAY, route));
    await bed.becomes("the limit", ({ status }) => status === 503, "/dear");
    for (let i = 0; i < 3; ++i) expect((await bed.ask("/cheap")).status).toBe(200);
    await bed.kubectl("delete", "envoyfilter", "-n", "shop", "of-route");
    await bed.becomes("the way back", ({ status }) => status === 200, "/dear");
  });

  it("asks a service about each request, and goes by what it says", async () => {
    await bed.apply(filter("global", GATEWAY, globalFilter(false)));
    const refused = await bed.becomes("the limit", ({ status }) => status === 429, "/over");
    expect(refused.headers).toMatchObject({ "x-envoy-ratelimited": "true", "x-limit-left": "0" });
    expect(refused.body).toBe("slow down");
    await bed.ask("/over?2");
    expect(await logOf("/over?2")).toContain('HTTP/1.1" 429 RL request_rate_limited ');
    const fine = await bed.ask("/fine", "-H", "x-staff: yes");
    expect(fine.headers["x-limit-left"]).toBe("7");
    expect(JSON.parse(fine.body).headers["x-limit-by"]).toBe("limiter");
    const asked = (await bed.lines("limiter")).map((line) => JSON.parse(line));
    expect(asked.at(-1)).toMatchObject({
      domain: "shop",
      authority: "limiter",
      asked: ["PATH=/fine generic_key=web", expect.stringMatching(/^header_match=staff remote_address=10\./)],
    });
  });

  it("lets requests pass when the service does not answer, or refuses them if it is told to", async () => {
    const passed = await bed.ask("/slow?open");
    expect(passed.status).toBe(200);
    expect(await logOf("/slow?open")).toContain('HTTP/1.1" 200 RLSE ');
    await bed.apply(filter("global", GATEWAY, globalFilter(true)));
    await bed.becomes("the refusal", ({ status }) => status === 500, "/slow");
    await bed.ask("/slow?closed");
    expect(await logOf("/slow?closed")).toContain('HTTP/1.1" 500 RLSE rate_limiter_error ');
    await bed.kubectl("delete", "service", "-n", "shop", "limiter");
    await eventually(
      "the condition",
      async () => (await condition("global")).startsWith("there is no service limiter"),
      30_000,
    );
    await bed.becomes("the refusal of all", ({ status }) => status === 500, "/fine");
    await bed.kubectl("delete", "envoyfilter", "-n", "shop", "global");
  });

  it("refuses everything else that an EnvoyFilter may say", async () => {
    const lua = `
  - applyTo: HTTP_FILTER
    match: {context: ANY}
    patch:
      operation: INSERT_BEFORE
      value: {name: envoy.filters.http.lua, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua}}`;
    await bed.apply(filter("lua", WEB, lua));
    await eventually(
      "the condition",
      async () => (await condition("lua")).includes('"envoy.filters.http.lua" is not supported'),
      30_000,
    );
    await bed.apply(filter("sidecar", "workloadSelector: {labels: {app: web}}", localFilter(1)));
    await eventually(
      "the condition",
      async () => (await condition("sidecar")).startsWith("spec.workloadSelector: selects sidecars"),
      30_000,
    );
    for (let i = 0; i < 3; ++i) expect((await bed.ask("/")).status).toBe(200);
  });
});
