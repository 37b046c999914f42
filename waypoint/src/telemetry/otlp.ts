/** OpenTelemetry's protocol: protobuf over gRPC or HTTP. */
import { create, toBinary } from "@bufbuild/protobuf";
import type { OtlpExporter } from "#proto/l7_pb.ts";
import {
  type ExportTraceServiceRequest,
  ExportTraceServiceRequestSchema,
  type KeyValue,
  KeyValueSchema,
  Span_SpanKind,
  SpanSchema,
  Status_StatusCode,
} from "#proto/otlp_pb.ts";
import { type CallCluster, postSpans } from "./collector.ts";
import type { Span } from "./span.ts";
import type { SpanSender } from "./span-queue.ts";

const EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const HTTP_PATH = "/v1/traces";
const SCOPE = "weft";
const NS_PER_US = 1000n;

export function otlpSender(call: CallCluster, exporter: OtlpExporter, serviceName: string): SpanSender {
  const { http, address: authority, cluster } = exporter;
  const path = http ? exporter.path || HTTP_PATH : EXPORT;
  const headers: Record<string, string> = http ? { "content-type": "application/x-protobuf" } : {};
  for (const [name, value] of Object.entries(exporter.headers)) headers[name.toLowerCase()] = value;
  return {
    send(spans, timeoutMs) {
      const body = toBinary(ExportTraceServiceRequestSchema, requestOf(spans, serviceName));
      return postSpans(call, { cluster, path, authority, headers, body, grpc: !http, timeoutMs });
    },
  };
}

export function requestOf(spans: readonly Span[], serviceName: string): ExportTraceServiceRequest {
  return create(ExportTraceServiceRequestSchema, {
    resourceSpans: [
      {
        resource: { attributes: [attribute("service.name", serviceName)] },
        scopeSpans: [{ scope: { name: SCOPE }, spans: spans.map(spanOf) }],
      },
    ],
  });
}

function spanOf(span: Span) {
  const start = BigInt(Math.round(span.startUnixMs * 1000)) * NS_PER_US;
  return create(SpanSchema, {
    traceId: Buffer.from(span.traceId, "hex"),
    spanId: Buffer.from(span.spanId, "hex"),
    parentSpanId: Buffer.from(span.parentSpanId, "hex"),
    name: span.name,
    kind: Span_SpanKind.SERVER,
    startTimeUnixNano: start,
    endTimeUnixNano: start + BigInt(span.durationUs) * NS_PER_US,
    attributes: [...span.tags].map(([key, value]) => attribute(key, value)),
    ...(span.error ? { status: { code: Status_StatusCode.ERROR } } : {}),
  });
}

function attribute(key: string, value: string): KeyValue {
  return create(KeyValueSchema, { key, value: { value: { case: "stringValue", value } } });
}
