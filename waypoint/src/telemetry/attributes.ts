/** Attributes of CEL, from a series or from the record of a request. */
import { Duration } from "@marcbachmann/cel-js/evaluator";
import type { AttributeName, AttributeSource, AttributeValue } from "#lib/telemetry/attributes.ts";
import { portOf, withoutPort } from "./address.ts";
import { envoyFlags } from "./flags.ts";
import { peerOf } from "./peer.ts";
import type { RequestRecord } from "./records.ts";
import type { LabelFacts } from "./series.ts";

type Reader<T> = (from: T) => AttributeValue | undefined;
type Readers<T> = Partial<Record<AttributeName, Reader<T>>>;

const text = (value: string | undefined): string | undefined => (value === "" ? undefined : value);

/** What labels know. */
const OF_FACTS: Readers<LabelFacts> = {
  "response.code": ({ protocol, responseCode }) => (protocol === "tcp" ? undefined : BigInt(responseCode)),
  "response.flags": ({ flags }) => envoyFlags(flags),
  "response.grpc_status": ({ grpcStatus }) => (grpcStatus < 0 ? undefined : BigInt(grpcStatus)),
  "connection.mtls": ({ peerIdentity }) => peerIdentity !== "",
  "connection.uri_san_peer_certificate": ({ peerIdentity }) => text(peerIdentity),
  "xds.cluster_name": ({ cluster }) => text(cluster),
  "upstream.uri_san_peer_certificate": ({ workload }) => text(workload?.principal),
  "source.principal": ({ peerIdentity }) => text(peerIdentity),
  "source.namespace": ({ peerBaggage }) => text(peerOf(peerBaggage).namespace),
  "source.workload": ({ peerBaggage }) => text(peerOf(peerBaggage).workload),
  "source.app": ({ peerBaggage }) => text(peerOf(peerBaggage).app),
  "source.version": ({ peerBaggage }) => text(peerOf(peerBaggage).version),
  "source.canonical_service": ({ peerBaggage }) => text(peerOf(peerBaggage).canonicalService),
  "source.canonical_revision": ({ peerBaggage }) => text(peerOf(peerBaggage).canonicalRevision),
  "source.cluster": ({ peerBaggage }) => text(peerOf(peerBaggage).cluster),
  "downstream_peer.name": ({ peerBaggage }) => text(peerOf(peerBaggage).workload),
  "downstream_peer.namespace": ({ peerBaggage }) => text(peerOf(peerBaggage).namespace),
  "downstream_peer.workload": ({ peerBaggage }) => text(peerOf(peerBaggage).workload),
  "downstream_peer.service": ({ peerBaggage }) => text(peerOf(peerBaggage).canonicalService),
  "downstream_peer.revision": ({ peerBaggage }) => text(peerOf(peerBaggage).canonicalRevision),
  "downstream_peer.app": ({ peerBaggage }) => text(peerOf(peerBaggage).app),
  "downstream_peer.version": ({ peerBaggage }) => text(peerOf(peerBaggage).version),
  "downstream_peer.cluster": ({ peerBaggage }) => text(peerOf(peerBaggage).cluster),
  "destination.principal": ({ workload }) => text(workload?.principal),
  "destination.namespace": ({ workload }) => text(workload?.namespace),
  "destination.workload": ({ workload }) => text(workload?.name),
  "destination.app": ({ workload }) => text(workload?.app),
  "destination.version": ({ workload }) => text(workload?.version),
  "destination.canonical_service": ({ workload }) => text(workload?.canonicalService),
  "destination.canonical_revision": ({ workload }) => text(workload?.canonicalRevision),
  "destination.cluster": ({ workload }) => text(workload?.clusterId),
  "destination.service": ({ serviceHostname }) => text(serviceHostname),
  "destination.service_name": ({ serviceName }) => text(serviceName),
  "destination.service_namespace": ({ serviceNamespace }) => text(serviceNamespace),
  "upstream_peer.name": ({ workload }) => text(workload?.name),
  "upstream_peer.namespace": ({ workload }) => text(workload?.namespace),
  "upstream_peer.workload": ({ workload }) => text(workload?.name),
  "upstream_peer.service": ({ workload }) => text(workload?.canonicalService),
  "upstream_peer.revision": ({ workload }) => text(workload?.canonicalRevision),
  "upstream_peer.app": ({ workload }) => text(workload?.app),
  "upstream_peer.version": ({ workload }) => text(workload?.version),
  "upstream_peer.cluster": ({ workload }) => text(workload?.clusterId),
};

/** What only a request knows. */
const OF_RECORD: Readers<RequestRecord> = {
  "request.path": (record) => text(record.text("path")),
  "request.url_path": (record) => text(record.text("path").split("?", 1)[0]),
  "request.query": (record) => record.text("path").split("?").slice(1).join("?"),
  "request.host": (record) => text(record.text("authority")),
  "request.scheme": (record) => text(record.text("scheme")),
  "request.method": (record) => text(record.text("method")),
  "request.headers": (record) => requestHeaders(record),
  "request.referer": (record) => record.requestHeader("referer"),
  "request.useragent": (record) => text(record.text("userAgent")),
  "request.id": (record) => text(record.text("requestId")),
  "request.protocol": (record) => (record.tcp ? undefined : record.protocol),
  "request.time": (record) => new Date(record.startUnixMs),
  "request.duration": (record) => Duration.fromMilliseconds(record.durationUs / 1000),
  "request.size": (record) => BigInt(record.bytesReceived),
  "request.total_size": (record) => BigInt(record.bytesReceived + record.requestHeaderBytes),
  "response.code_details": (record) => text(record.text("details")),
  "response.headers": (record) => responseHeaders(record),
  "response.trailers": () => new Map(),
  "response.size": (record) => BigInt(record.bytesSent),
  "response.total_size": (record) => BigInt(record.bytesSent + record.responseHeaderBytes),
  "connection.requested_server_name": (record) => text(record.text("sni")),
  "connection.termination_details": (record) => text(record.text("terminationDetails")),
  "source.address": (record) => text(record.text("downstreamRemote")),
  "source.port": (record) => portOf(record.text("downstreamRemote")),
  "destination.address": (record) => text(record.text("downstreamLocal")),
  "destination.port": (record) => portOf(record.text("downstreamLocal")),
  "upstream.address": (record) => text(record.text("upstreamHost")),
  "upstream.port": (record) => portOf(record.text("upstreamHost")),
  "upstream.local_address": (record) => text(withoutPort(record.text("upstreamLocal"))),
  "upstream.transport_failure_reason": (record) => text(record.text("transportFailure")),
  "upstream.request_attempt_count": (record) => BigInt(record.attempts),
  "xds.route_name": (record) => text(record.text("routeName")),
};

export class SeriesAttributes implements AttributeSource {
  readonly #facts: LabelFacts;
  constructor(facts: LabelFacts) {
    this.#facts = facts;
  }
  attribute(name: AttributeName): AttributeValue | undefined {
    return OF_FACTS[name]?.(this.#facts);
  }
}

export class RecordAttributes implements AttributeSource {
  readonly #record: RequestRecord;
  #facts: LabelFacts | undefined;
  constructor(record: RequestRecord) {
    this.#record = record;
  }
  attribute(name: AttributeName): AttributeValue | undefined {
    const own = OF_RECORD[name];
    if (own !== undefined) return own(this.#record);
    this.#facts ??= factsOf(this.#record);
    return OF_FACTS[name]?.(this.#facts);
  }
}

/** The labels that the engine would count this request by. */
export function factsOf(record: RequestRecord): LabelFacts {
  return {
    protocol: record.tcp ? "tcp" : record.grpc ? "grpc" : "http",
    responseCode: record.status,
    grpcStatus: record.grpcStatus,
    flags: record.flags,
    peerIdentity: record.text("peerIdentity"),
    peerBaggage: record.text("peerBaggage"),
    destination: record.text("destination"),
    cluster: record.text("cluster"),
    telemetry: record.text("telemetry"),
    serviceNamespace: record.text("serviceNamespace"),
    serviceHostname: record.text("serviceHostname"),
    serviceName: record.text("serviceName"),
    workload: record.workload,
    other: false,
  };
}

/** With what Envoy has among the headers and we have apart. */
function requestHeaders(record: RequestRecord): Map<string, string> {
  const headers = record.requestHeaders();
  for (const [name, value] of [
    [":method", record.text("method")],
    [":path", record.text("path")],
    [":authority", record.text("authority")],
    [":scheme", record.text("scheme")],
    ["x-request-id", record.text("requestId")],
    ["user-agent", record.text("userAgent")],
    ["x-forwarded-for", record.text("forwardedFor")],
  ] as const) {
    if (value !== "") headers.set(name, value);
  }
  return headers;
}

function responseHeaders(record: RequestRecord): Map<string, string> {
  const headers = record.responseHeaders();
  if (record.status !== 0) headers.set(":status", String(record.status));
  return headers;
}
