import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Route } from "#proto/l7_pb.ts";
import type { Problem } from "../../model/fields.ts";
import { envoyFilterFacts } from "./envoy-filter.ts";
import { EnvoyFilterIndex } from "./envoy-filter-index.ts";
import { limitsOfPort } from "./rate-limits.ts";

const TARGETS = { targetRefs: [{ kind: "Service", group: "", name: "web" }] };
const LOCAL = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
const GLOBAL = "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit";
const ALWAYS = { default_value: { numerator: 100 } };
const BUCKET = { max_tokens: 4, tokens_per_fill: 2, fill_interval: "60s" };

const local = (config: object) => ({
  applyTo: "HTTP_FILTER",
  patch: {
    operation: "INSERT_BEFORE",
    value: { name: "envoy.filters.http.local_ratelimit", typed_config: { "@type": LOCAL, ...config } },
  },
});
const bucket = (tokens = 4) =>
  local({ token_bucket: { ...BUCKET, max_tokens: tokens }, filter_enabled: ALWAYS, filter_enforced: ALWAYS });
const cluster = (name: string) => ({ grpc_service: { envoy_grpc: { cluster_name: name } } });
const global = (config: object = {}) => ({
  applyTo: "HTTP_FILTER",
  patch: {
    operation: "INSERT_BEFORE",
    value: {
      name: "envoy.filters.http.ratelimit",
      typed_config: {
        "@type": GLOBAL,
        domain: "d",
        rate_limit_service: cluster("outbound|8081||limiter.shop.svc.cluster.local"),
        ...config,
      },
    },
  },
});
const actions = (kind: string, value: object, route?: string) => ({
  applyTo: kind,
  match: { routeConfiguration: { vhost: { route: { ...(route === undefined ? {} : { name: route }) } } } },
  patch: { operation: "MERGE", value },
});
const key = (value: string) => ({ rate_limits: [{ actions: [{ generic_key: { descriptor_value: value } }] }] });

function read(spec: object) {
  const problems: Problem[] = [];
  const facts = envoyFilterFacts({ metadata: { namespace: "shop", name: "f" }, spec }, "istio-system", problems);
  return { facts, problems: problems.map(({ field, reason }) => `${field}: ${reason}`) };
}

function limits(patches: object[], port = 80) {
  const { facts, problems } = read({ ...TARGETS, configPatches: patches });
  expect(problems).toEqual([]);
  return limitsOfPort(facts.patches, port, ({ host }) => `to ${host}`);
}
const ofRoute = (found: ReturnType<typeof limits>, name: string) =>
  found.ofRoute?.({ name } as Route).rateLimits ?? undefined;
const descriptors = (of: { global: { descriptors: { entries: { value: { value?: unknown } }[] }[] }[] } | undefined) =>
  of?.global.flatMap((each) => each.descriptors.map(({ entries }) => entries[0]?.value.value));

describe("EnvoyFilter", () => {
  it("makes a bucket of the local rate limit", () => {
    const share = { default_value: { numerator: 5, denominator: "TEN_THOUSAND" } };
    const headers = [{ append: false, header: { key: "X-A", value: "1" } }, { header: { key: "x-b", value: "2" } }];
    const config = {
      token_bucket: BUCKET,
      filter_enabled: share,
      filter_enforced: ALWAYS,
      response_headers_to_add: headers,
    };
    expect(limits([local({ ...config, status: { code: 503 } })]).chain?.local).toMatchObject({
      tokens: 4,
      tokensPerFill: 2,
      fillIntervalMs: 60_000n,
      status: 503,
      enabledPpm: 500,
      responseHeaders: { set: [{ name: "x-a", value: "1" }], add: [{ name: "x-b", value: "2" }] },
    });
    expect(limits([local({})]).chain).toBeUndefined();
  });

  it("asks the services about what virtual hosts and routes say, a route's own in place of its host's", () => {
    const host = actions("VIRTUAL_HOST", key("host"));
    const plain = limits([global({ timeout: "10s", failure_mode_deny: true }), host]);
    expect(plain.chain?.global).toMatchObject([
      { cluster: "to limiter.shop.svc.cluster.local", domain: "d", timeoutMs: 10_000n, failClosed: true },
    ]);
    expect(descriptors(plain.chain)).toEqual(["host"]);
    expect(plain.ofRoute).toBeUndefined();
    const both = limits([global(), host, actions("HTTP_ROUTE", { route: key("route") }, "a")]);
    expect(both.chain).toBeUndefined();
    expect(descriptors(ofRoute(both, "a"))).toEqual(["route"]);
    expect(descriptors(ofRoute(both, "b"))).toEqual(["host"]);
    expect(limits([host]).chain).toBeUndefined();
  });

  it("gives descriptors buckets of their own, for what hosts, routes or the filter itself say that requests are", () => {
    const descriptor = { entries: [{ key: "generic_key", value: "host" }], token_bucket: { ...BUCKET, max_tokens: 1 } };
    const config = { token_bucket: BUCKET, filter_enabled: ALWAYS, filter_enforced: ALWAYS, descriptors: [descriptor] };
    const said = (of: { localDescriptors: { entries: { value: { value?: unknown } }[] }[] } | undefined) =>
      of?.localDescriptors.map(({ entries }) => entries[0]?.value.value);
    const host = actions("VIRTUAL_HOST", key("host"));
    const plain = limits([local({ ...config, always_consume_default_token_bucket: false }), host]);
    expect(plain.chain?.local).toMatchObject({
      tokens: 4,
      spareOwnBucket: true,
      descriptors: [{ entries: [{ key: "generic_key", value: "host" }], tokens: 1, tokensPerFill: 2 }],
    });
    expect(said(plain.chain)).toEqual(["host"]);
    const routed = limits([local(config), host, actions("HTTP_ROUTE", { route: key("route") }, "a")]);
    expect(said(routed.chain)).toEqual([]);
    expect(said(ofRoute(routed, "a"))).toEqual(["route"]);
    expect(said(ofRoute(routed, "b"))).toEqual(["host"]);
    const own = limits([
      local({ ...config, ...key("own") }),
      host,
      actions("HTTP_ROUTE", { route: key("route") }, "a"),
    ]);
    expect(said(own.chain)).toEqual(["own"]);
    expect(said(ofRoute(own, "a"))).toEqual(["own"]);
    const typed = { "@type": LOCAL, ...config };
    const perRoute = actions("HTTP_ROUTE", {
      typed_per_filter_config: { "envoy.filters.http.local_ratelimit": typed },
    });
    const ofRoutes = limits([local({}), host, perRoute]);
    expect(said(ofRoutes.chain)).toEqual(["host"]);
    expect(ofRoute(ofRoutes, "x")?.local?.descriptors).toHaveLength(1);
    // Who has no descriptors need not know what requests are.
    expect(said(limits([bucket(), host]).chain)).toEqual([]);
  });

  it("keeps to the port of the virtual host", () => {
    const match = { context: "SIDECAR_INBOUND", routeConfiguration: { vhost: { name: "inbound|http|80" } } };
    const patch = { ...actions("VIRTUAL_HOST", key("host")), match };
    expect(descriptors(limits([global(), patch]).chain)).toEqual(["host"]);
    expect(limits([global(), patch], 81).chain).toBeUndefined();
  });

  it("is applied in order of namespace, priority and age, and the last bucket counts", () => {
    const index = new EnvoyFilterIndex("istio-system", () => {});
    const put = (namespace: string, name: string, priority: number, tokens: number) => {
      const object = {
        metadata: { namespace, name },
        spec: {
          priority,
          configPatches: [bucket(tokens)],
          targetRefs: [{ kind: "GatewayClass", group: "gateway.networking.k8s.io", name: "c" }],
        },
      };
      if (namespace === "shop") Object.assign(object.spec, TARGETS);
      index.all.upsert(envoyFilterFacts(object, "istio-system", []));
    };
    put("shop", "last", 5, 3);
    put("shop", "first", -5, 2);
    put("istio-system", "root", 9, 1);
    const patches = index.patchesFor([
      { kind: "GatewayClass", namespace: "", name: "c" },
      { kind: "Service", namespace: "shop", name: "web" },
    ]);
    expect(patches.map((patch) => patch.local?.tokens)).toEqual([1, 2, 3]);
    expect(limitsOfPort(patches, 80, () => "").chain?.local?.tokens).toBe(3);
    expect(index.patchesFor([{ kind: "Service", namespace: "shop", name: "other" }])).toEqual([]);
  });

  it.each([
    [{ configPatches: [] }, "spec.targetRefs: are required"],
    [{ workloadSelector: { labels: {} } }, "spec.workloadSelector: selects sidecars"],
    [
      { ...TARGETS, configPatches: [{ applyTo: "CLUSTER" }] },
      'spec.configPatches[0].applyTo: "CLUSTER" is not supported',
    ],
    [
      { ...TARGETS, configPatches: [{ ...bucket(), match: { context: "GATEWAY" } }] },
      "spec.configPatches[0].match.context: must be one of ANY, WAYPOINT, SIDECAR_INBOUND",
    ],
    [
      { ...TARGETS, configPatches: [local({ token_bucket: BUCKET, filter_enforced: ALWAYS })] },
      "spec.configPatches[0].patch.value.typed_config.filter_enabled: must have a default_value",
    ],
    [
      { ...TARGETS, configPatches: [local({ max_dynamic_descriptors: 5 })] },
      "spec.configPatches[0].patch.value.typed_config.max_dynamic_descriptors: unknown field",
    ],
    [
      { ...TARGETS, configPatches: [local({ descriptors: [{ entries: [{ key: "k" }], token_bucket: BUCKET }] })] },
      "spec.configPatches[0].patch.value.typed_config.descriptors[0].entries[0].value: is required",
    ],
    [
      { ...TARGETS, configPatches: [local({ descriptors: [{ entries: [{ key: "k", value: "v" }] }] })] },
      "spec.configPatches[0].patch.value.typed_config.descriptors[0].token_bucket: is required",
    ],
    [
      { ...TARGETS, configPatches: [global({ rate_limit_service: cluster("rate_limit_cluster") })] },
      "spec.configPatches[0].patch.value.typed_config.rate_limit_service.grpc_service.envoy_grpc.cluster_name: must be the",
    ],
    [
      { ...TARGETS, configPatches: [actions("VIRTUAL_HOST", { rate_limits: [{ actions: [{ metadata: {} }] }] })] },
      "spec.configPatches[0].patch.value.rate_limits[0].actions[0].metadata: is no action that a waypoint knows",
    ],
    [
      { ...TARGETS, configPatches: [actions("VIRTUAL_HOST", { domains: [] })] },
      "spec.configPatches[0].patch.value.domains: unknown field",
    ],
  ])("refuses %j, and has no effect then", (spec, problem) => {
    const { facts, problems } = read({
      ...spec,
      configPatches: [...("configPatches" in spec ? spec.configPatches : []), bucket()],
    });
    expect(problems[0]).toContain(problem);
    expect(facts.patches).toEqual([]);
  });

  it("is read whatever it says, and in force only if all of it is understood", () => {
    const names = [
      "applyTo",
      "match",
      "patch",
      "value",
      "typed_config",
      "@type",
      "token_bucket",
      "rate_limits",
      "actions",
    ];
    const known = fc.constantFrom<unknown>(
      "HTTP_FILTER",
      "VIRTUAL_HOST",
      "HTTP_ROUTE",
      LOCAL,
      GLOBAL,
      "MERGE",
      4,
      true,
    );
    const anything = fc.letrec((tie) => ({
      value: fc.oneof({ maxDepth: 6 }, known, fc.jsonValue({ maxDepth: 1 }), tie("object"), fc.array(tie("value"))),
      object: fc.dictionary(fc.constantFrom(...names), tie("value")),
    }));
    fc.assert(
      fc.property(fc.array(anything.value), (configPatches) => {
        const { facts, problems } = read({ ...TARGETS, configPatches });
        if (problems.length > 0) expect(facts.patches).toEqual([]);
      }),
    );
  });
});
