/** Spans as Istio's proxies report them, of records. */
import { parseFormat } from "#lib/telemetry/format.ts";
import type { CustomTag, Tracing } from "#proto/l7_pb.ts";
import { compileText, type LineHost } from "./access-line.ts";
import { portText, withoutPort } from "./address.ts";
import { dryRunTags } from "./dry-run.ts";
import { flagsText } from "./flags.ts";
import { grpcStatusText } from "./grpc-status.ts";
import { peerOf } from "./peer.ts";
import type { RequestRecord } from "./records.ts";

export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty: the trace begins here. */
  readonly parentSpanId: string;
  readonly name: string;
  readonly startUnixMs: number;
  readonly durationUs: number;
  readonly error: boolean;
  readonly tags: ReadonlyMap<string, string>;
}

/** What spans say of the proxy. */
export interface ProxyFacts extends LineHost {
  /** `<type>~<ip>~<pod>.<namespace>~<domain>`. */
  readonly nodeId: string;
  readonly ip: string;
  readonly namespace: string;
  readonly clusterId: string;
  readonly meshId: string;
  readonly zone: string;
  readonly canonicalService: string;
  readonly canonicalRevision: string;
}

type Tagger = (record: RequestRecord, tags: Map<string, string>) => void;

const DEFAULT_MAX_PATH = 256;
const SERVER_ERROR = 500;

/** Throws FormatError for a formatter tag that is no format. */
export function compileSpans(tracing: Tracing, proxy: ProxyFacts): (record: RequestRecord) => Span {
  const taggers: Tagger[] = [httpTags(tracing.maxPathLength || DEFAULT_MAX_PATH, proxy), grpcTags, dryRunTags];
  if (tracing.istioTags) taggers.push(proxyTags(proxy), peerTags);
  for (const tag of tracing.tags) taggers.push(customTag(tag, proxy));
  return (record) => {
    const tags = new Map<string, string>();
    for (const add of taggers) add(record, tags);
    const error = record.status === 0 || record.status >= SERVER_ERROR;
    if (error) tags.set("error", "true");
    return {
      traceId: record.traceId,
      spanId: record.spanId,
      parentSpanId: record.parentSpanId,
      name: spanName(record),
      startUnixMs: record.startUnixMs,
      durationUs: record.durationUs,
      error,
      tags,
    };
  };
}

/** Destination and route, never the path: a trace view groups by it. */
function spanName(record: RequestRecord): string {
  const asked = record.text("destination").split("/").slice(1).join("/");
  const host = record.text("serviceHostname") || asked || withoutPort(record.text("authority")) || "unknown";
  const port = portText(record.text("downstreamLocal"));
  return `${host}${port === "" ? "" : `:${port}`}${record.text("routePattern") || "/*"}`;
}

function httpTags(maxPath: number, proxy: ProxyFacts): Tagger {
  return (record, tags) => {
    const path = record.text("originalPath") || record.text("path");
    tags.set("component", "proxy");
    tags.set("node_id", proxy.nodeId);
    tags.set("zone", proxy.zone);
    tags.set("guid:x-request-id", record.text("requestId"));
    tags.set("http.url", `${record.text("scheme") || "http"}://${record.text("authority")}${path.slice(0, maxPath)}`);
    tags.set("http.method", record.text("method"));
    tags.set("http.protocol", record.protocol);
    tags.set("http.status_code", String(record.status));
    tags.set("downstream_cluster", "-");
    tags.set("user_agent", record.text("userAgent") || "-");
    tags.set("peer.address", withoutPort(record.text("client")));
    tags.set("request_size", String(record.bytesReceived));
    tags.set("response_size", String(record.bytesSent));
    tags.set("response_flags", flagsText(record.flags));
    tags.set("upstream_cluster", record.text("cluster") || "-");
    tags.set("upstream_cluster.name", record.text("cluster") || "-");
  };
}

function grpcTags(record: RequestRecord, tags: Map<string, string>): void {
  if (!record.grpc) return;
  tags.set("grpc.path", record.text("path"));
  tags.set("grpc.authority", record.text("authority"));
  const status = grpcStatusText(record.grpcStatus);
  if (status === undefined) return;
  tags.set("grpc.status_code", String(record.grpcStatus));
  tags.set("grpc.message", status);
}

function proxyTags(proxy: ProxyFacts): Tagger {
  return (_, tags) => {
    tags.set("istio.canonical_service", proxy.canonicalService);
    tags.set("istio.canonical_revision", proxy.canonicalRevision);
    tags.set("istio.mesh_id", proxy.meshId);
    tags.set("istio.namespace", proxy.namespace);
    tags.set("istio.cluster_id", proxy.clusterId);
  };
}

/** A waypoint stands between two workloads and is neither. */
function peerTags(record: RequestRecord, tags: Map<string, string>): void {
  const peer = peerOf(record.text("peerBaggage"));
  const side = (name: string, facts: Record<string, string>): void => {
    for (const [key, value] of Object.entries(facts)) if (value !== "") tags.set(`istio.${name}_${key}`, value);
  };
  side("source", {
    workload: peer.workload,
    namespace: peer.namespace,
    cluster_id: peer.cluster,
    canonical_service: peer.canonicalService,
    canonical_revision: peer.canonicalRevision,
    app: peer.app,
    app_version: peer.version,
  });
  const workload = record.workload;
  if (workload === undefined) return;
  side("destination", {
    workload: workload.name,
    namespace: workload.namespace,
    cluster_id: workload.clusterId,
    canonical_service: workload.canonicalService,
    canonical_revision: workload.canonicalRevision,
    app: workload.app,
    app_version: workload.version,
  });
}

/** A tag without a value is left out, as at Envoy. */
function customTag({ name, value, defaultValue }: CustomTag, proxy: ProxyFacts): Tagger {
  const read = tagReader(value, proxy);
  return (record, tags) => {
    const text = read(record) ?? defaultValue;
    if (text !== "") tags.set(name, text);
  };
}

function tagReader(value: CustomTag["value"], proxy: ProxyFacts): (record: RequestRecord) => string | undefined {
  switch (value.case) {
    case "literal":
      return () => value.value;
    case "environment":
      return () => proxy.environment[value.value];
    case "header": {
      const text = compileText(parseFormat(`%REQ(${value.value})%`), proxy);
      return (record) => {
        const header = text(record);
        return header === "-" ? undefined : header;
      };
    }
    case "formatter":
      return compileText(parseFormat(value.value), proxy);
    case undefined:
      return () => undefined;
  }
}
