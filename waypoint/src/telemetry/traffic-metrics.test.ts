import { create } from "@bufbuild/protobuf";
import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { MetricsPage } from "#lib/metrics.ts";
import { type MetricOverride, MetricOverrideSchema } from "#proto/l7_pb.ts";
import { HTTP_LABELS, standardLabels, TCP_LABELS } from "./labels.ts";
import { MetricPlan } from "./metric-plan.ts";
import { decodeRecords } from "./records.ts";
import { BUCKETS, decodeSeries } from "./series.ts";
import { encodeRecord, encodeSeries, facts, golden } from "./test-records.ts";
import { TrafficMetrics } from "./traffic-metrics.ts";

const NO_OVERRIDES = new Map<string, MetricPlan>();

function metricsOf(series: readonly Uint8Array[], plans: ReadonlyMap<string, MetricPlan> = NO_OVERRIDES) {
  const registry = new Registry();
  const traffic = new TrafficMetrics(() => new Uint8Array(Buffer.concat(series)));
  traffic.setPlans(plans);
  traffic.register(registry);
  const page = new MetricsPage(registry);
  return { traffic, lines: async (accept?: string) => (await page.render(accept)).body.split("\n") };
}
function planOf(...overrides: Partial<Omit<MetricOverride, "$typeName">>[]): ReadonlyMap<string, MetricPlan> {
  return new Map([["t", new MetricPlan(overrides.map((one) => create(MetricOverrideSchema, one)))]]);
}
const named = (lines: readonly string[], name: string): string[] =>
  lines.filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));

describe("standardLabels", () => {
  it("are Istio's, in its order, of a request from productpage to reviews", () => {
    const labels = standardLabels(facts({ protocol: "grpc", grpcStatus: 0 }));
    expect(Object.keys(labels)).toEqual(HTTP_LABELS);
    expect(labels).toEqual({
      reporter: "waypoint",
      source_workload: "productpage-v1",
      source_canonical_service: "productpage",
      source_canonical_revision: "v1",
      source_workload_namespace: "default",
      source_principal: "spiffe://cluster.local/ns/default/sa/productpage",
      source_app: "productpage",
      source_version: "v1",
      source_cluster: "Kubernetes",
      destination_workload: "reviews-v1",
      destination_workload_namespace: "default",
      destination_principal: "spiffe://cluster.local/ns/default/sa/reviews",
      destination_app: "reviews",
      destination_version: "v1",
      destination_service: "reviews.default.svc.cluster.local",
      destination_canonical_service: "reviews",
      destination_canonical_revision: "v1",
      destination_service_name: "reviews",
      destination_service_namespace: "default",
      destination_cluster: "Kubernetes",
      request_protocol: "grpc",
      response_code: "200",
      grpc_response_status: "0",
      response_flags: "-",
      connection_security_policy: "mutual_tls",
    });
  });

  it("have unknown for a client and a workload that nobody knows", () => {
    const labels = standardLabels(
      facts({
        peerIdentity: "",
        peerBaggage: "",
        workload: undefined,
        serviceHostname: "",
        responseCode: 0,
        flags: 0b100000,
      }),
    );
    expect(labels).toMatchObject({
      source_workload: "unknown",
      source_principal: "unknown",
      source_canonical_revision: "unknown",
      destination_workload: "unknown",
      destination_service: "reviews.default.svc.cluster.local",
      destination_service_name: "reviews",
      destination_service_namespace: "default",
      response_code: "0",
      grpc_response_status: "",
      response_flags: "NC",
      connection_security_policy: "none",
    });
  });

  it("have latest for a service without a revision", () => {
    const baggage = "k8s.namespace.name=a,k8s.deployment.name=b,service.name=b";
    expect(standardLabels(facts({ peerBaggage: baggage })).source_canonical_revision).toBe("latest");
  });

  it("have no answer on TCP", () => {
    expect(Object.keys(standardLabels(facts({ protocol: "tcp" })))).toEqual(TCP_LABELS);
  });
});

describe("decodeSeries", () => {
  it("reads what the engine has encoded", () => {
    const [series, ...more] = decodeSeries(golden("series.hex"), new Map());
    expect(more).toEqual([]);
    expect(series?.facts).toEqual(
      facts({ protocol: "grpc", responseCode: 503, grpcStatus: 14, flags: 0b10010, telemetry: "default/mesh" }),
    );
    expect(series).toMatchObject({ requests: 2, grpcRequestMessages: 4, grpcResponseMessages: 6, tcpOpened: 0 });
    expect(series?.durationMs.sum).toBe(24.69);
    expect([...(series?.durationMs.counts ?? [])].indexOf(2)).toBe(BUCKETS.indexOf(25));
    expect([...(series?.responseBytes.counts ?? [])].indexOf(2)).toBe(BUCKETS.length);
  });
});

describe("TrafficMetrics", () => {
  it("shows counters and cumulative histograms", async () => {
    const lines = await metricsOf([encodeSeries(facts(), 5)]).lines();
    const [total] = named(lines, "istio_requests_total");
    expect(total).toMatch(/^istio_requests_total\{reporter="waypoint",source_workload="productpage-v1",.*\} 5$/);
    const buckets = named(lines, "istio_request_duration_milliseconds_bucket");
    expect(buckets.map((line) => [/le="([^"]+)"/.exec(line)?.[1], Number(line.split(" ").at(-1))])).toEqual([
      ...BUCKETS.map((bound) => [String(bound), bound >= 5 ? 5 : 0]),
      ["+Inf", 5],
    ]);
    expect(named(lines, "istio_request_duration_milliseconds_sum")[0]).toMatch(/ 15$/);
    expect(named(lines, "istio_response_bytes_count")[0]).toMatch(/ 5$/);
    expect(named(lines, "istio_request_messages_total")).toEqual([]);
    expect(lines).toContain("# TYPE istio_request_bytes histogram");
  });

  it("counts messages of gRPC and connections of TCP", async () => {
    const lines = await metricsOf([
      encodeSeries(facts({ protocol: "grpc", grpcStatus: 0 }), 3),
      encodeSeries(facts({ protocol: "tcp", responseCode: 0 }), 2),
    ]).lines();
    expect(named(lines, "istio_response_messages_total")[0]).toMatch(/ 6$/);
    expect(named(lines, "istio_tcp_connections_opened_total")[0]).toMatch(/ 2$/);
    expect(named(lines, "istio_tcp_sent_bytes_total")[0]).toMatch(/request_protocol="tcp".* 40$/);
    expect(named(lines, "istio_requests_total")).toHaveLength(1);
  });

  it("adds up series that differ in nothing that labels show", async () => {
    const lines = await metricsOf([
      encodeSeries(facts({ cluster: "a" }), 1),
      encodeSeries(facts({ cluster: "b" }), 2),
    ]).lines();
    expect(named(lines, "istio_requests_total")).toHaveLength(1);
    expect(named(lines, "istio_requests_total")[0]).toMatch(/ 3$/);
  });

  it("ends OpenMetrics as it must", async () => {
    const lines = await metricsOf([encodeSeries(facts(), 1)]).lines("application/openmetrics-text");
    expect(named(lines, "istio_requests_total")).toHaveLength(1);
    expect(lines).toContain("# TYPE istio_requests counter");
    expect(lines.at(-2)).toBe("# EOF");
  });

  it("turns metrics off, removes tags and adds those that series know", async () => {
    const plans = planOf(
      { metric: "REQUEST_DURATION", disabled: true },
      { metric: "", removeTags: ["source_principal"] },
      {
        metric: "REQUEST_COUNT",
        upsertTags: { who: "source.workload + '/' + destination.service_name", bad: "nope.nope" },
      },
    );
    expect(plans.get("t")?.problems).toEqual(["tag bad: Unknown variable: nope"]);
    const lines = await metricsOf(
      [
        encodeSeries(facts({ telemetry: "t" }), 1),
        encodeSeries(facts({ telemetry: "t", peerIdentity: "spiffe://a/ns/b/sa/c" }), 1),
      ],
      plans,
    ).lines();
    expect(named(lines, "istio_request_duration_milliseconds_bucket")).toEqual([]);
    const totals = named(lines, "istio_requests_total");
    expect(totals).toHaveLength(1);
    expect(totals[0]).toMatch(/who="productpage-v1\/reviews"\} 2$/);
    expect(totals[0]).not.toContain("source_principal");
  });

  it("counts requests one by one for tags that only they know", async () => {
    const plans = planOf({ metric: "REQUEST_COUNT", upsertTags: { request_host: "request.host" } });
    expect(plans.get("t")?.fromRequests).toBe(true);
    const { traffic, lines } = metricsOf([encodeSeries(facts({ telemetry: "t" }), 50)], plans);
    for (const authority of ["a", "b", "a"]) {
      const texts = { authority, telemetry: "t", destination: "n/h" };
      for (const record of decodeRecords(encodeRecord({ status: 200, texts }))) traffic.count(record);
    }
    const totals = named(await lines(), "istio_requests_total");
    expect(totals.map((line) => [/request_host="(\w+)"/.exec(line)?.[1], line.split(" ").at(-1)])).toEqual([
      ["a", "2"],
      ["b", "1"],
    ]);
  });

  it("keeps nothing of the values that clients make up beyond the bound", async () => {
    const plans = planOf({ metric: "REQUEST_COUNT", upsertTags: { request_host: "request.host" } });
    const { traffic, lines } = metricsOf([], plans);
    for (let i = 0; i < 5000; i++) {
      const texts = { authority: String(i), telemetry: "t" };
      for (const record of decodeRecords(encodeRecord({ status: 200, texts }))) traffic.count(record);
    }
    const totals = named(await lines(), "istio_requests_total");
    expect(totals).toHaveLength(4097);
    expect(totals.at(-1)).toMatch(/destination_service="other".* 904$/);
  });

  it("shows what there was no room for as other", async () => {
    const other = facts({ other: true, workload: undefined, serviceHostname: "", destination: "", peerBaggage: "" });
    const lines = await metricsOf([encodeSeries(other, 4)]).lines();
    expect(named(lines, "istio_requests_total")[0]).toContain('destination_service="other"');
  });

  it("shows 20,000 series on one page", async () => {
    const all = Array.from({ length: 300 }, (_, i) =>
      encodeSeries(facts({ peerIdentity: `spiffe://td/ns/n/sa/${i}` }), i),
    );
    const page = await metricsOf(all).lines();
    expect(page.filter((line) => line.startsWith("istio_")).length).toBeGreaterThanOrEqual(20_000);
  });
});
