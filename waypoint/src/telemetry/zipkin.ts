/** Zipkin's JSON, version 2. */
import type { ZipkinExporter } from "#proto/l7_pb.ts";
import { type CallCluster, postSpans } from "./collector.ts";
import type { Span } from "./span.ts";
import type { SpanSender } from "./span-queue.ts";

const DEFAULT_PATH = "/api/v2/spans";

export interface ZipkinEndpoint {
  readonly serviceName: string;
  readonly ip: string;
}

export function zipkinSender(call: CallCluster, exporter: ZipkinExporter, local: ZipkinEndpoint): SpanSender {
  const { address: authority, cluster } = exporter;
  const path = exporter.path || DEFAULT_PATH;
  const headers = { "content-type": "application/json" };
  return {
    send(spans, timeoutMs) {
      const body = Buffer.from(JSON.stringify(spans.map((span) => json(span, local))));
      return postSpans(call, { cluster, path, authority, headers, body, grpc: false, timeoutMs });
    },
  };
}

function json(span: Span, local: ZipkinEndpoint): Record<string, unknown> {
  return {
    traceId: span.traceId,
    id: span.spanId,
    ...(span.parentSpanId === "" ? {} : { parentId: span.parentSpanId }),
    kind: "SERVER",
    name: span.name,
    timestamp: Math.round(span.startUnixMs * 1000),
    // Zipkin takes 0 for unknown.
    duration: Math.max(1, Math.round(span.durationUs)),
    localEndpoint: {
      serviceName: local.serviceName,
      ...(local.ip === "" ? {} : local.ip.includes(":") ? { ipv6: local.ip } : { ipv4: local.ip }),
    },
    tags: Object.fromEntries(span.tags),
  };
}
