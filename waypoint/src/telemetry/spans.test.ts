import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { LogRoot } from "#lib/log.ts";
import { TelemetrySchema, type Tracing, TracingSchema } from "#proto/l7_pb.ts";
import { ExportTraceServiceRequestSchema } from "#proto/otlp_pb.ts";
import type { OwnAnswer, OwnRequest } from "../native.ts";
import type { ProxyFacts } from "./span.ts";
import { SpanQueue } from "./span-queue.ts";
import { WaypointTelemetry } from "./telemetry.ts";
import { golden } from "./test-records.ts";

const PROXY: ProxyFacts = {
  hostname: "waypoint-1",
  identity: "",
  environment: { REGION: "north" },
  nodeId: "waypoint~10.1.0.9~waypoint-1.default~default.svc.cluster.local",
  ip: "10.1.0.9",
  namespace: "default",
  clusterId: "Kubernetes",
  meshId: "cluster.local",
  zone: "z1",
  canonicalService: "waypoint",
  canonicalRevision: "latest",
};
const lines: string[] = [];
const LOG = new LogRoot({
  format: "plain",
  filter: "info",
  destination: { write: (line) => lines.push(line), flushSync: () => undefined },
}).logger("telemetry");
const NO_STATS = {
  openConnections: 0,
  openRequests: 0,
  openTunnels: 0,
  bufferedBytes: 0,
  recordsLost: 0,
  seriesOverflowed: 0,
};

/** A collector that answers everything so, and remembers it. */
function collector(answer: OwnAnswer = { failure: "", status: 200 }) {
  const requests: OwnRequest[] = [];
  const call = async (request: OwnRequest) => {
    requests.push(request);
    return answer;
  };
  return { requests, call };
}

/** Sends the golden record's span by this tracing, and returns when it is gone. */
async function report(
  { call }: ReturnType<typeof collector>,
  tracing: MessageInitShape<typeof TracingSchema>,
): Promise<WaypointTelemetry> {
  const telemetry = new WaypointTelemetry({
    series: () => new Uint8Array(),
    stats: () => NO_STATS,
    call,
    proxy: PROXY,
    log: LOG,
    tag: "test",
  });
  const message = create(TelemetrySchema, { name: "default/mesh", tracing: create(TracingSchema, tracing) as Tracing });
  telemetry.apply([{ type: "Telemetry", name: "default/mesh", bytes: toBinary(TelemetrySchema, message) }], []);
  telemetry.onRecords(golden("request-record.hex"));
  await telemetry.close();
  return telemetry;
}

const TO = { address: "collector.obs:80", cluster: "outbound|80||collector.obs" };

function spanOf(asked: OwnRequest | undefined) {
  const request = fromBinary(ExportTraceServiceRequestSchema, asked?.body ?? new Uint8Array());
  const resource = request.resourceSpans[0];
  const span = resource?.scopeSpans[0]?.spans[0];
  const tags = Object.fromEntries(span?.attributes.map(({ key, value }) => [key, value?.value.value]) ?? []);
  return { span, tags, service: resource?.resource?.attributes[0]?.value?.value.value };
}

describe("spans", () => {
  it("go to a Zipkin collector as JSON", async () => {
    const zipkin = collector({ failure: "", status: 202 });
    await report(zipkin, { exporter: { case: "zipkin", value: TO } });
    const { body, ...request } = zipkin.requests[0] as OwnRequest;
    expect(request).toEqual({
      cluster: TO.cluster,
      authority: TO.address,
      path: "/api/v2/spans",
      headers: { "content-type": "application/json" },
      grpc: false,
      timeoutMs: expect.closeTo(5000, -3),
    });
    const [span] = JSON.parse(Buffer.from(body).toString());
    expect(span).toMatchObject({
      traceId: "0102030405060708090a0b0c0d0e0f10",
      id: "2122232425262728",
      parentId: "4142434445464748",
      kind: "SERVER",
      name: "reviews.default.svc.cluster.local:9080/reviews*",
      timestamp: 1767323045678250,
      duration: 12345,
      localEndpoint: { serviceName: "waypoint.default", ipv4: "10.1.0.9" },
    });
    expect(span.tags).toEqual({
      component: "proxy",
      node_id: PROXY.nodeId,
      zone: "z1",
      "guid:x-request-id": "6a7e0b1c-0000-9000-8000-000000000000",
      "http.url": "http://reviews:9080/old/1",
      "http.method": "GET",
      "http.protocol": "HTTP/2",
      "http.status_code": "503",
      downstream_cluster: "-",
      user_agent: "curl/8 é",
      "peer.address": "192.0.2.1",
      request_size: "11",
      response_size: "5000000000",
      response_flags: "URX,UF",
      upstream_cluster: "inbound-vip|9080|http|reviews.default.svc.cluster.local",
      "upstream_cluster.name": "inbound-vip|9080|http|reviews.default.svc.cluster.local",
      "grpc.path": "/reviews/1?x=y",
      "grpc.authority": "reviews:9080",
      "grpc.status_code": "14",
      "grpc.message": "Unavailable",
      error: "true",
      "istio.authorization.dry_run.allow_policy.result": "allowed",
      "istio.authorization.dry_run.deny_policy.name": "ns[default]-policy[try]-rule[0]",
      "istio.authorization.dry_run.deny_policy.result": "denied",
    });
  });

  it("go to an OpenTelemetry collector by gRPC, with Istio's and custom tags", async () => {
    const otlp = collector();
    await report(otlp, {
      exporter: { case: "otlp", value: { ...TO, headers: { "X-Tenant": "a" } } },
      istioTags: true,
      maxPathLength: 4,
      tags: [
        { name: "lit", value: { case: "literal", value: "x" } },
        { name: "env", value: { case: "environment", value: "REGION" } },
        { name: "noenv", value: { case: "environment", value: "NONE" }, defaultValue: "d" },
        { name: "hdr", value: { case: "header", value: "End-User" } },
        { name: "nohdr", value: { case: "header", value: "X-None" } },
        { name: "fmt", value: { case: "formatter", value: "%RESPONSE_CODE%/%PROTOCOL%" } },
      ],
    });
    expect(otlp.requests[0]).toMatchObject({
      cluster: TO.cluster,
      path: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
      headers: { "x-tenant": "a" },
      grpc: true,
    });
    const { span, tags, service } = spanOf(otlp.requests[0]);
    expect(service).toBe("waypoint.default");
    expect(Buffer.from(span?.traceId ?? []).toString("hex")).toBe("0102030405060708090a0b0c0d0e0f10");
    expect(span?.startTimeUnixNano).toBe(1767323045678250000n);
    expect(span?.endTimeUnixNano).toBe(1767323045690595000n);
    expect(span?.status?.code).toBe(2);
    expect(tags).toMatchObject({
      "http.url": "http://reviews:9080/old",
      "istio.canonical_service": "waypoint",
      "istio.mesh_id": "cluster.local",
      "istio.source_workload": "productpage-v1",
      "istio.destination_canonical_service": "reviews",
      lit: "x",
      env: "north",
      noenv: "d",
      hdr: "jason",
      fmt: "503/HTTP/2",
    });
    expect(tags).not.toHaveProperty("nohdr");
  });

  it("go to an OpenTelemetry collector by HTTP", async () => {
    const otlp = collector();
    await report(otlp, { exporter: { case: "otlp", value: { ...TO, http: true, headers: { "x-tenant": "b" } } } });
    const headers = { "content-type": "application/x-protobuf", "x-tenant": "b" };
    expect(otlp.requests[0]).toMatchObject({ path: "/v1/traces", headers, grpc: false });
    const { span } = spanOf(otlp.requests[0]);
    expect(span?.name).toBe("reviews.default.svc.cluster.local:9080/reviews*");
  });

  it("are counted and said when a collector does not take them", async () => {
    for (const answer of [
      { failure: "", status: 500 },
      { failure: "there is no cluster outbound|80||collector.obs", status: 0 },
    ]) {
      lines.length = 0;
      const telemetry = await report(collector(answer), { exporter: { case: "zipkin", value: TO } });
      expect(lines.join("")).toContain(answer.failure || "answered 500");
      expect(await telemetry.registry.metrics()).toContain("weft_spans_dropped_total 1");
    }
  });

  it("are not made when reporting is off", async () => {
    const { requests, call } = collector();
    await report({ requests, call }, { disableSpans: true, exporter: { case: "zipkin", value: TO } });
    expect(requests).toEqual([]);
  });
});

describe("SpanQueue", () => {
  it("drops and counts what a slow collector leaves no room for, and sends one batch at a time", async () => {
    const sending = Promise.withResolvers<void>();
    const batches: number[] = [];
    const queue = new SpanQueue(
      "collector",
      {
        send: async (spans) => {
          batches.push(spans.length);
          await sending.promise;
        },
      },
      LOG,
      { capacity: 4, batch: 2, flushMs: 60_000 },
    );
    const span = {} as Parameters<SpanQueue["add"]>[0];
    for (let i = 0; i < 10; i++) queue.add(span);
    expect(batches).toEqual([2]);
    expect(queue.dropped).toBe(4);
    sending.resolve();
    await queue.close();
    expect(batches).toEqual([2, 2, 2]);
    expect(queue.sent).toBe(6);
  });
});
