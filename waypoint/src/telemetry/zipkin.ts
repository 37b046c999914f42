/** Zipkin's JSON, version 2. */
import type { ZipkinExporter } from "#proto/l7_pb.ts";
import { postSpans } from "./post.ts";
import type { Span } from "./span.ts";
import type { SpanSender } from "./span-queue.ts";

const DEFAULT_PATH = "/api/v2/spans";

export interface ZipkinEndpoint {
  readonly serviceName: string;
  readonly ip: string;
}

export function zipkinSender({ address, path }: ZipkinExporter, local: ZipkinEndpoint): SpanSender {
  const url = `http://${address}${path === "" ? DEFAULT_PATH : path}`;
  return {
    send: (spans, signal) =>
      postSpans(
        url,
        { "content-type": "application/json" },
        JSON.stringify(spans.map((span) => json(span, local))),
        signal,
      ),
    close() {
      // fetch owns its connections
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
