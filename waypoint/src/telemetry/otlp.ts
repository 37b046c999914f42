/** OpenTelemetry's protocol: protobuf over gRPC or HTTP. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import type { OtlpExporter } from "#proto/l7_pb.ts";
import {
  type ExportTraceServiceRequest,
  ExportTraceServiceRequestSchema,
  ExportTraceServiceResponseSchema,
  type KeyValue,
  KeyValueSchema,
  Span_SpanKind,
  SpanSchema,
  Status_StatusCode,
} from "#proto/otlp_pb.ts";
import { postSpans } from "./post.ts";
import type { Span } from "./span.ts";
import type { SpanSender } from "./span-queue.ts";

const EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const HTTP_PATH = "/v1/traces";
const SCOPE = "weft";
const NS_PER_US = 1000n;

export function otlpSender(exporter: OtlpExporter, serviceName: string): SpanSender {
  return exporter.http ? httpSender(exporter, serviceName) : grpcSender(exporter, serviceName);
}

function httpSender({ address, path, headers }: OtlpExporter, serviceName: string): SpanSender {
  const url = `http://${address}${path === "" ? HTTP_PATH : path}`;
  return {
    send: (spans, signal) =>
      postSpans(
        url,
        { ...headers, "content-type": "application/x-protobuf" },
        toBinary(ExportTraceServiceRequestSchema, requestOf(spans, serviceName)),
        signal,
      ),
    close() {
      // fetch owns its connections
    },
  };
}

function grpcSender({ address, headers }: OtlpExporter, serviceName: string): SpanSender {
  const client = new Client(address, credentials.createInsecure());
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return {
    send: (spans, signal) =>
      new Promise((resolve, reject) => {
        const call = client.makeUnaryRequest(
          EXPORT,
          (request: ExportTraceServiceRequest) => Buffer.from(toBinary(ExportTraceServiceRequestSchema, request)),
          (bytes: Buffer) => fromBinary(ExportTraceServiceResponseSchema, bytes),
          requestOf(spans, serviceName),
          metadata,
          (error) => {
            signal.removeEventListener("abort", cancel);
            if (error === null) resolve();
            else reject(error);
          },
        );
        const cancel = (): void => call.cancel();
        signal.addEventListener("abort", cancel, { once: true });
        if (signal.aborted) cancel();
      }),
    close: () => client.close(),
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
