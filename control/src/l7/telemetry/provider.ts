/** Providers of telemetry as `meshConfig.extensionProviders` and the older fields of MeshConfig name them. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { DEFAULT_JSON_FORMAT } from "#lib/telemetry/default-format.ts";
import type { AccessLogSchema, TracingSchema } from "#proto/l7_pb.ts";
import type { Fields } from "../../model/fields.ts";
import { readDuration } from "../istio/values.ts";
import { checkJson, checkText } from "./checks.ts";

export type LogSink = Pick<MessageInitShape<typeof AccessLogSchema>, "format" | "path">;
export type Tracer = Required<Pick<MessageInitShape<typeof TracingSchema>, "exporter" | "maxPathLength">>;

export interface TelemetryProvider {
  readonly log?: LogSink;
  readonly tracer?: Tracer;
  readonly metrics?: true;
}

const DEFAULT_MAX_PATH_LENGTH = 256;
const MAX_PATH_LENGTH = 65_536;
const STDOUT = "/dev/stdout";

/** Undefined when it is a provider of another sort. */
export function readTelemetryProvider(entry: Fields): TelemetryProvider | undefined {
  const file = entry.object("envoyFileAccessLog");
  if (file !== undefined) return { log: readLog(file) };
  const zipkin = entry.object("zipkin");
  if (zipkin !== undefined) {
    const value = { address: addressOf(zipkin), path: zipkin.string("path") ?? "" };
    return { tracer: { exporter: { case: "zipkin", value }, maxPathLength: pathLengthOf(zipkin, "maxTagLength") } };
  }
  const otlp = entry.object("opentelemetry");
  if (otlp !== undefined) return { tracer: readOtlp(otlp) };
  return entry.has("prometheus") ? { metrics: true } : undefined;
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

function readOtlp(fields: Fields): Tracer {
  const http = fields.object("http");
  const headers: Record<string, string> = {};
  for (const header of http?.objects("headers") ?? []) {
    headers[header.string("name") ?? ""] = header.string("value") ?? "";
  }
  const value = {
    address: addressOf(fields),
    http: http !== undefined,
    path: http?.string("path") ?? "",
    headers,
    timeoutMs: BigInt((http && readDuration(http, "timeout")) ?? 0),
  };
  return { exporter: { case: "otlp", value }, maxPathLength: pathLengthOf(fields, "maxTagLength") };
}

/** `service` may be `namespace/host`. */
function addressOf(fields: Fields): string {
  const service = fields.string("service") ?? "";
  const port = fields.integer("port", 1, 65_535);
  if (service === "") fields.problem("service", "is required");
  if (port === undefined && !fields.has("port")) fields.problem("port", "is required");
  return `${service.slice(service.indexOf("/") + 1)}:${port ?? 0}`;
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
  const address = tracing?.object("zipkin")?.string("address") ?? "";
  const maxPathLength = pathLengthOf(tracing, "maxPathTagLength");
  const enabled = fields.boolean("enableTracing") ?? true;
  return {
    tracer: enabled && address !== "" ? { exporter: { case: "zipkin", value: { address } }, maxPathLength } : undefined,
    sampling: tracing?.number("sampling", 0, 100),
  };
}
