/** Lines of the access log: each operator becomes a function once, and a line is what they say of a record. */
import { randomUUID } from "node:crypto";
import type { Format, JsonFormat, OperatorSegment, Segment } from "#lib/telemetry/format.ts";
import type { OperatorName } from "#lib/telemetry/operators.ts";
import { portText, withoutPort } from "./address.ts";
import { dryRunReader } from "./dry-run.ts";
import { flagsText, longFlagsText } from "./flags.ts";
import { grpcStatusText } from "./grpc-status.ts";
import type { RecordText, RequestRecord } from "./records.ts";
import { compileTime } from "./start-time.ts";

/** Undefined: there is no such thing; `-` in text, null in JSON. */
export type Value = string | number | undefined;
export type Reader = (record: RequestRecord) => Value;
type Operator = (segment: OperatorSegment, host: LineHost) => Reader;

/** What lines say of the process that writes them. */
export interface LineHost {
  readonly hostname: string;
  readonly identity: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

const some = (value: string | undefined): Value => (value === "" ? undefined : value);
const textOf =
  (name: RecordText): Operator =>
  () =>
  (record) =>
    some(record.text(name));
const ipOf =
  (name: RecordText): Operator =>
  () =>
  (record) =>
    some(withoutPort(record.text(name)));
const portOf =
  (name: RecordText): Operator =>
  () =>
  (record) =>
    some(portText(record.text(name)));
const count =
  (read: (record: RequestRecord) => number): Operator =>
  () =>
    read;
const absent: Operator = () => () => undefined;
const milliseconds = (us: number): Value => (us === 0 ? undefined : Math.floor(us / 1000));
/** Envoy keeps such texts one word. */
const oneWord = (text: string): Value => some(text.replace(/\s/g, "_"));
const time: Operator = ({ argument }) => {
  const format = compileTime(argument);
  return (record) => format(record.startUnixMs);
};
const wireReceived = (record: RequestRecord): number => record.requestHeaderBytes + record.bytesReceived;
const wireSent = (record: RequestRecord): number => record.responseHeaderBytes + record.bytesSent;

/** Operators that are not here have nothing to say in a mesh proxy of ours. */
const READERS: Partial<Record<OperatorName, Operator>> = {
  START_TIME: time,
  START_TIME_LOCAL: time,
  EMIT_TIME: ({ argument }) => {
    const format = compileTime(argument);
    return (record) => format(record.startUnixMs + record.durationUs / 1000);
  },
  DURATION: count((record) => Math.floor(record.durationUs / 1000)),
  REQUEST_DURATION: () => (record) => milliseconds(record.requestReceivedUs),
  RESPONSE_DURATION: () => (record) => milliseconds(record.responseBegunUs),
  RESPONSE_TX_DURATION: () => (record) =>
    record.responseBegunUs === 0 ? undefined : Math.floor((record.durationUs - record.responseBegunUs) / 1000),
  REQ: (segment) => headerReader(segment, requestHeader),
  RESP: (segment) => headerReader(segment, responseHeader),
  QUERY_PARAM:
    ({ argument = "" }) =>
    (record) =>
      new URLSearchParams(queryOf(record)).get(argument) ?? undefined,
  QUERY_PARAMS: () => (record) => some(queryOf(record)),
  PATH: ({ argument = "" }) => pathReader(argument.split(":")),
  PROTOCOL: () => (record) => (record.tcp ? undefined : record.protocol),
  RESPONSE_CODE: count((record) => record.status),
  RESPONSE_CODE_DETAILS:
    ({ argument }) =>
    (record) =>
      argument === "ALLOW_WHITESPACES" ? some(record.text("details")) : oneWord(record.text("details")),
  RESPONSE_FLAGS: () => (record) => flagsText(record.flags),
  RESPONSE_FLAGS_LONG: () => (record) => longFlagsText(record.flags),
  CONNECTION_TERMINATION_DETAILS: textOf("terminationDetails"),
  GRPC_STATUS:
    ({ argument = "CAMEL_STRING" }) =>
    (record) =>
      argument === "NUMBER" ? grpcNumber(record) : grpcStatusText(record.grpcStatus, argument === "SNAKE_STRING"),
  GRPC_STATUS_NUMBER: () => grpcNumber,
  BYTES_RECEIVED: count((record) => record.bytesReceived),
  BYTES_SENT: count((record) => record.bytesSent),
  DOWNSTREAM_WIRE_BYTES_RECEIVED: count(wireReceived),
  DOWNSTREAM_WIRE_BYTES_SENT: count(wireSent),
  DOWNSTREAM_HEADER_BYTES_RECEIVED: count((record) => record.requestHeaderBytes),
  DOWNSTREAM_HEADER_BYTES_SENT: count((record) => record.responseHeaderBytes),
  UPSTREAM_WIRE_BYTES_SENT: count(wireReceived),
  UPSTREAM_WIRE_BYTES_RECEIVED: count(wireSent),
  UPSTREAM_HEADER_BYTES_SENT: count((record) => record.requestHeaderBytes),
  UPSTREAM_HEADER_BYTES_RECEIVED: count((record) => record.responseHeaderBytes),
  UPSTREAM_HOST: textOf("upstreamHost"),
  UPSTREAM_HOST_NAME: textOf("upstreamHost"),
  UPSTREAM_HOST_NAME_WITHOUT_PORT: ipOf("upstreamHost"),
  UPSTREAM_CLUSTER: textOf("cluster"),
  UPSTREAM_CLUSTER_RAW: textOf("cluster"),
  UPSTREAM_REMOTE_ADDRESS: textOf("upstreamHost"),
  UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: ipOf("upstreamHost"),
  UPSTREAM_REMOTE_PORT: portOf("upstreamHost"),
  UPSTREAM_LOCAL_ADDRESS: textOf("upstreamLocal"),
  UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: ipOf("upstreamLocal"),
  UPSTREAM_LOCAL_PORT: portOf("upstreamLocal"),
  UPSTREAM_TRANSPORT_FAILURE_REASON: () => (record) => oneWord(record.text("transportFailure")),
  UPSTREAM_REQUEST_ATTEMPT_COUNT: count((record) => record.attempts),
  UPSTREAM_PEER_URI_SAN: () => (record) => (record.upstreamTunnel ? some(record.text("workloadPrincipal")) : undefined),
  UPSTREAM_LOCAL_URI_SAN:
    (_, { identity }) =>
    (record) =>
      record.upstreamTunnel ? some(identity) : undefined,
  DOWNSTREAM_REMOTE_ADDRESS: textOf("client"),
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: ipOf("client"),
  DOWNSTREAM_REMOTE_PORT: portOf("client"),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS: textOf("downstreamRemote"),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT: ipOf("downstreamRemote"),
  DOWNSTREAM_DIRECT_REMOTE_PORT: portOf("downstreamRemote"),
  DOWNSTREAM_LOCAL_ADDRESS: textOf("downstreamLocal"),
  DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: ipOf("downstreamLocal"),
  DOWNSTREAM_LOCAL_PORT: portOf("downstreamLocal"),
  DOWNSTREAM_DIRECT_LOCAL_ADDRESS: textOf("downstreamLocal"),
  DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT: ipOf("downstreamLocal"),
  DOWNSTREAM_DIRECT_LOCAL_PORT: portOf("downstreamLocal"),
  DOWNSTREAM_PEER_URI_SAN: textOf("peerIdentity"),
  DOWNSTREAM_LOCAL_URI_SAN:
    (_, { identity }) =>
    (record) =>
      record.downstreamTls ? some(identity) : undefined,
  REQUESTED_SERVER_NAME: textOf("sni"),
  ROUTE_NAME: textOf("routeName"),
  TRACE_ID: () => (record) => some(record.traceId),
  SPAN_ID: () => (record) => some(record.spanId),
  STREAM_ID: textOf("requestId"),
  UNIQUE_ID: () => () => randomUUID(),
  HOSTNAME:
    (_, { hostname }) =>
    () =>
      some(hostname),
  ENVIRONMENT:
    ({ argument = "" }, { environment }) =>
    () =>
      some(environment[argument]),
  DYNAMIC_METADATA: ({ argument = "" }) => dryRunReader(argument) ?? (() => undefined),
  ACCESS_LOG_TYPE: () => (record) => (record.tcp ? "TcpConnectionEnd" : "DownstreamEnd"),
};

const NONE = "-";

/** A line, or a header's or tag's text: what is absent is `-`. */
export function compileText(format: Format, host: LineHost): (record: RequestRecord) => string {
  const parts = format.map((segment) => compileSegment(segment, host));
  return (record) => {
    let text = "";
    for (const part of parts) {
      const value = part(record);
      text += value === undefined ? NONE : value;
    }
    return text;
  };
}

/** One object per line. A string that is one operator and nothing else keeps its type, and is null when absent. */
export function compileJson(format: JsonFormat, host: LineHost): (record: RequestRecord) => unknown {
  switch (format.kind) {
    case "constant":
      return () => format.value;
    case "list": {
      const items = format.items.map((item) => compileJson(item, host));
      return (record) => items.map((item) => item(record));
    }
    case "object": {
      const fields = format.fields.map(([key, value]) => [key, compileJson(value, host)] as const);
      return (record) => Object.fromEntries(fields.map(([key, value]) => [key, value(record)]));
    }
    case "format": {
      const [only, more] = format.format;
      if (only === undefined) return () => "";
      if (only.kind === "text" || more !== undefined) return compileText(format.format, host);
      const reader = compileSegment(only, host);
      return (record) => reader(record) ?? null;
    }
  }
}

/** The value of a format that may be absent as a whole. */
export function compileSegment(segment: Segment, host: LineHost): Reader {
  if (segment.kind === "text") return () => segment.text;
  const reader = (READERS[segment.name] ?? absent)(segment, host);
  const { maxLength } = segment;
  if (maxLength === undefined) return reader;
  return (record) => {
    const value = reader(record);
    return value === undefined ? undefined : String(value).slice(0, maxLength);
  };
}

function headerReader(
  { argument = "", alternative }: OperatorSegment,
  header: (record: RequestRecord, name: string) => Value,
): Reader {
  if (alternative === undefined) return (record) => header(record, argument);
  return (record) => header(record, argument) ?? header(record, alternative);
}

function requestHeader(record: RequestRecord, name: string): Value {
  switch (name) {
    case ":method":
      return some(record.text("method"));
    case ":path":
      return some(record.text("path"));
    case ":authority":
      return some(record.text("authority"));
    case ":scheme":
      return some(record.text("scheme"));
    case "x-envoy-original-path":
      return some(record.text("originalPath"));
    case "x-forwarded-for":
      return some(record.text("forwardedFor"));
    case "x-request-id":
      return some(record.text("requestId"));
    case "user-agent":
      return some(record.text("userAgent"));
    default:
      return record.requestHeader(name);
  }
}

function responseHeader(record: RequestRecord, name: string): Value {
  if (name === ":status") return record.status === 0 ? undefined : String(record.status);
  // A header is a text, though this one was a number.
  if (name === "x-envoy-upstream-service-time") {
    return record.upstreamFirstByteUs === 0 ? undefined : String(Math.floor(record.upstreamFirstByteUs / 1000));
  }
  return record.responseHeader(name);
}

function queryOf(record: RequestRecord): string {
  const path = record.text("path");
  const question = path.indexOf("?");
  return question === -1 ? "" : path.slice(question + 1);
}

/** `WQ` or `NQ`: with the query or not; `ORIG`, `PATH` or `ORIG_OR_PATH`. */
function pathReader(options: readonly string[]): Reader {
  const original = !options.includes("PATH");
  const current = !options.includes("ORIG");
  return (record) => {
    const path = (original ? record.text("originalPath") : "") || (current ? record.text("path") : "");
    return some(options.includes("NQ") ? path.split("?", 1)[0] : path);
  };
}

function grpcNumber(record: RequestRecord): Value {
  return record.grpcStatus < 0 ? undefined : record.grpcStatus;
}
