/** Providers of telemetry as `meshConfig.extensionProviders` and the older fields of MeshConfig name them. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { DEFAULT_JSON_FORMAT } from "#lib/telemetry/default-format.ts";
import type { AccessLogSchema, TracingSchema } from "#proto/l7_pb.ts";
import type { Fields } from "../../model/fields.ts";
import { readDuration } from "../istio/values.ts";
import { type ProviderService, readProviderService } from "../provider-service.ts";
import { checkJson, checkText } from "./checks.ts";

export type LogSink = Pick<MessageInitShape<typeof AccessLogSchema>, "format" | "path">;
/** What remains to be said is the cluster by which the exporter reaches the service. */
export type Tracer = Required<Pick<MessageInitShape<typeof TracingSchema>, "exporter" | "maxPathLength">> & {
  readonly service: ProviderService;
  /** A host that is no service of the mesh is looked up by name, as Envoy's own address of Zipkin is. */
  readonly anyHost: boolean;
};

export interface TelemetryProvider {
  readonly log?: LogSink;
  readonly tracer?: Tracer;
  readonly metrics?: true;
  /** What nobody can do who has only this. */
  readonly unsupported?: string;
}

/** Providers that Istio has for telemetry, and a waypoint does not. */
const UNSUPPORTED = [
  "datadog",
  "skywalking",
  "lightstep",
  "opencensus",
  "stackdriver",
  "envoyHttpAls",
  "envoyTcpAls",
  "envoyOtelAls",
] as const;

const DEFAULT_MAX_PATH_LENGTH = 256;
const MAX_PATH_LENGTH = 65_536;
const STDOUT = "/dev/stdout";

/** Undefined when it is a provider of another sort. */
export function readTelemetryProvider(entry: Fields): TelemetryProvider | undefined {
  const file = entry.object("envoyFileAccessLog");
  if (file !== undefined) return { log: readLog(file) };
  const zipkin = entry.object("zipkin");
  if (zipkin !== undefined) {
    const value = { path: zipkin.string("path") ?? "" };
    return tracerOf(zipkin, { case: "zipkin", value });
  }
  const otlp = entry.object("opentelemetry");
  // Its sampler would be in the place of the Telemetry's.
  if (otlp?.has("dynatraceSampler") === true) return { unsupported: "opentelemetry.dynatraceSampler" };
  if (otlp !== undefined) return tracerOf(otlp, readOtlp(otlp));
  if (entry.has("prometheus")) return { metrics: true };
  const kind = UNSUPPORTED.find((name) => entry.has(name));
  return kind === undefined ? undefined : { unsupported: kind };
}

function tracerOf(fields: Fields, exporter: Tracer["exporter"] & { case: string }): TelemetryProvider {
  const service = readProviderService(fields);
  const maxPathLength = pathLengthOf(fields, "maxTagLength");
  return service === undefined ? {} : { tracer: { exporter, maxPathLength, service, anyHost: false } };
}

function readLog(fields: Fields): LogSink {
  const path = fields.string("path") || STDOUT;
  const format = fields.object("logFormat");
  const text = format?.string("text");
  const labels = format?.raw("labels");
  if (format !== undefined && text !== undefined && checkText(format, "text", text)) {
    return { path, format: { case: "text", value: text } };
  }
  if (labels !== undefined && typeof labels === "object" && Object.keys(labels as object).length === 0) {
    return { path, format: { case: "json", value: { fields: DEFAULT_JSON_FORMAT } } };
  }
  if (format !== undefined && labels !== undefined && checkJson(format, "labels", () => labels)) {
    return { path, format: { case: "json", value: { object: JSON.stringify(labels) } } };
  }
  return { path };
}

function readOtlp(fields: Fields) {
  const http = fields.object("http");
  const headers: Record<string, string> = {};
  for (const header of http?.objects("headers") ?? []) {
    headers[header.string("name") ?? ""] = header.string("value") ?? "";
  }
  const value = {
    http: http !== undefined,
    path: http?.string("path") ?? "",
    headers,
    timeoutMs: BigInt((http && readDuration(http, "timeout")) ?? 0),
  };
  return { case: "otlp", value } as const;
}

function pathLengthOf(fields: Fields | undefined, name: string): number {
  return fields?.integer(name, 1, MAX_PATH_LENGTH) ?? DEFAULT_MAX_PATH_LENGTH;
}

/** `accessLogFormat` and `accessLogEncoding`; the built-in provider `envoy` writes so too. */
export function readMeshFormat(fields: Fields): LogSink["format"] {
  const format = fields.string("accessLogFormat") ?? "";
  const json = fields.oneOf("accessLogEncoding", ["TEXT", "JSON"]) === "JSON";
  if (format === "") return json ? { case: "json", value: { fields: DEFAULT_JSON_FORMAT } } : undefined;
  if (!json) {
    return checkText(fields, "accessLogFormat", format) ? { case: "text", value: format } : undefined;
  }
  const ok = checkJson(fields, "accessLogFormat", () => JSON.parse(format));
  return ok ? { case: "json", value: { object: format } } : undefined;
}

export interface MeshTracing {
  /** Of `defaultConfig.tracing.zipkin`, unless tracing is off. */
  readonly tracer: Tracer | undefined;
  /** Percent. */
  readonly sampling: number | undefined;
}

export function readMeshTracing(fields: Fields): MeshTracing {
  const tracing = fields.object("defaultConfig")?.object("tracing");
  const zipkin = tracing?.object("zipkin");
  const address = /^([^:/]+):(\d{1,5})$/.exec(zipkin?.string("address") ?? "");
  if (zipkin?.has("address") && zipkin.string("address") !== "" && address === null) {
    zipkin.problem("address", "must be host:port");
  }
  const [, host = "", port] = address ?? [];
  const tracer: Tracer = {
    exporter: { case: "zipkin", value: {} },
    maxPathLength: pathLengthOf(tracing, "maxPathTagLength"),
    service: { host: host.toLowerCase(), namespace: "", port: Number(port) },
    anyHost: true,
  };
  const enabled = fields.boolean("enableTracing") ?? true;
  return {
    tracer: enabled && host !== "" ? tracer : undefined,
    sampling: tracing?.number("sampling", 0, 100),
  };
}
