/** The Telemetry message of a chain: what resources say from outer to inner, with the mesh's providers. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { compileCel, compileFilter, needsRequests } from "#lib/telemetry/cel.ts";
import { DEFAULT_TEXT_FORMAT } from "#lib/telemetry/default-format.ts";
import { type HeaderNames, headersOf, parseFormat, parseJsonFormat } from "#lib/telemetry/format.ts";
import { type AccessLog, AccessLogSchema, type Telemetry, TelemetrySchema, type TracingSchema } from "#proto/l7_pb.ts";
import type { MeshConfigFacts } from "../istio/mesh-config.ts";
import type { LogSink, Tracer } from "./provider.ts";
import type { MetricOverrideFacts, TelemetryFacts, TracingFacts } from "./telemetry-facts.ts";

/** Istio's, when nobody says otherwise. */
const DEFAULT_SAMPLING_PERCENT = 1;
const PPM_OF_PERCENT = 10_000;
const STDOUT = "/dev/stdout";

export type MeshTelemetry = Pick<
  MeshConfigFacts,
  "accessLog" | "defaultProviders" | "meshTracing" | "telemetryProviders"
>;

/** The name of the cluster that leads to a collector; empty: there is none. */
export type CollectorNamer = (tracer: Tracer) => string;

export function compileTelemetry(
  name: string,
  layers: readonly TelemetryFacts[],
  mesh: MeshTelemetry,
  cluster: CollectorNamer,
): Telemetry {
  const accessLogs = logsOf(layers, mesh);
  const tracing = tracingOf(layers, mesh, cluster);
  const { overrides, disabled } = metricsOf(layers, mesh);
  const tags = overrides.flatMap(({ upsertTags }) => Object.values(upsertTags).map(compileCel));
  const read = [...accessLogs.flatMap(headersOfLog), ...tags.map(({ headers }) => headers)];
  for (const { value } of tracing?.tags ?? []) {
    if (value?.case === "header") read.push({ request: [value.value], response: [] });
    if (value?.case === "formatter") read.push(headersOf(parseFormat(value.value)));
  }
  return create(TelemetrySchema, {
    name,
    accessLogs,
    ...(tracing === undefined ? {} : { tracing }),
    metricOverrides: overrides.map(({ disabled: off, removeTags, ...rest }) => ({
      ...rest,
      removeTags: [...removeTags],
      ...(off === undefined ? {} : { disabled: off }),
    })),
    metricsDisabled: disabled,
    requestHeaders: sorted(read.flatMap(({ request }) => request)),
    responseHeaders: sorted(read.flatMap(({ response }) => response)),
    tagsOfRequests: tags.some(needsRequests),
  });
}

function sorted(names: readonly string[]): string[] {
  return [...new Set(names)].sort();
}

// ---- access logs --------------------------------------------------------------------------------------------------

function logsOf(layers: readonly TelemetryFacts[], mesh: MeshTelemetry): AccessLog[] {
  const { file, format } = mesh.accessLog;
  const defaults = mesh.defaultProviders.accessLogging;
  const said = layers.filter(({ logging }) => logging.length > 0);
  if (said.length === 0 && defaults.length === 0) {
    return file === "" ? [] : [logMessage("", { path: file, ...withFormat(format) }, "")];
  }
  let providers: readonly string[] = defaults;
  let logs = new Map(defaults.map((provider) => [provider, ""]));
  for (const { logging } of said) {
    const next = new Map<string, string>();
    const named = new Set<string>();
    for (const entry of logging) {
      for (const provider of entry.providers.length > 0 ? entry.providers : providers) {
        named.add(provider);
        if (entry.disabled) next.delete(provider);
        else next.set(provider, entry.filter ?? logs.get(provider) ?? "");
      }
    }
    providers = [...named];
    logs = next;
  }
  return [...logs].flatMap(([provider, filter]) => {
    const sink = sinkOf(provider, mesh);
    return sink === undefined ? [] : [logMessage(provider, sink, filter)];
  });
}

function sinkOf(provider: string, { accessLog, telemetryProviders }: MeshTelemetry): LogSink | undefined {
  const known = telemetryProviders.get(provider);
  if (known !== undefined || provider !== "envoy") return known?.log;
  return { path: STDOUT, ...withFormat(accessLog.format) };
}

function withFormat(format: LogSink["format"]): Pick<LogSink, "format"> {
  return format === undefined ? {} : { format };
}

function logMessage(provider: string, sink: LogSink, filter: string): AccessLog {
  return create(AccessLogSchema, { provider, filter, ...sink });
}

function headersOfLog({ format, filter }: AccessLog): HeaderNames[] {
  const read = filter === "" ? [] : [compileFilter(filter).headers];
  if (format.case === "json") {
    const { object, fields } = format.value;
    return [...read, headersOf(parseJsonFormat(object === "" ? fields : JSON.parse(object)))];
  }
  return [...read, headersOf(parseFormat(format.case === "text" ? format.value : DEFAULT_TEXT_FORMAT))];
}

// ---- spans --------------------------------------------------------------------------------------------------------

/** Undefined: nobody takes spans. */
function tracingOf(
  layers: readonly TelemetryFacts[],
  mesh: MeshTelemetry,
  cluster: CollectorNamer,
): MessageInitShape<typeof TracingSchema> | undefined {
  let merged: Partial<TracingFacts> = {};
  for (const entry of layers.flatMap(({ tracing }) => tracing)) {
    merged = { ...merged, ...Object.fromEntries(Object.entries(entry).filter(([, value]) => value !== undefined)) };
  }
  const provider = merged.provider ?? mesh.defaultProviders.tracing;
  const tracer = provider === "" ? mesh.meshTracing.tracer : mesh.telemetryProviders.get(provider)?.tracer;
  if (tracer === undefined) return undefined;
  const { host, port } = tracer.service;
  const percent = merged.sampling ?? mesh.meshTracing.sampling ?? DEFAULT_SAMPLING_PERCENT;
  return {
    provider,
    samplingPpm: Math.round(percent * PPM_OF_PERCENT),
    disableSpans: merged.disableSpans ?? false,
    disablePropagation: merged.disablePropagation ?? false,
    useRequestId: merged.useRequestId ?? true,
    istioTags: merged.istioTags ?? true,
    tags: [...(merged.tags ?? [])],
    maxPathLength: tracer.maxPathLength,
    exporter: exporterTo(tracer, `${host}:${port}`, cluster(tracer)),
  };
}

function exporterTo({ exporter }: Tracer, address: string, cluster: string): Tracer["exporter"] {
  if (exporter.case === "zipkin") return { case: "zipkin", value: { ...exporter.value, address, cluster } };
  if (exporter.case === "otlp") return { case: "otlp", value: { ...exporter.value, address, cluster } };
  return exporter;
}

// ---- metrics ------------------------------------------------------------------------------------------------------

function metricsOf(
  layers: readonly TelemetryFacts[],
  mesh: MeshTelemetry,
): { overrides: MetricOverrideFacts[]; disabled: boolean } {
  let providers = mesh.defaultProviders.metrics;
  const overrides: MetricOverrideFacts[] = [];
  for (const entry of layers.flatMap(({ metrics }) => metrics)) {
    if (entry.providers.length > 0) providers = entry.providers;
    const counts = providers.length === 0 || providers.some((name) => isPrometheus(name, mesh));
    if (counts) overrides.push(...entry.overrides);
  }
  return { overrides, disabled: providers.length > 0 && !providers.some((name) => isPrometheus(name, mesh)) };
}

function isPrometheus(name: string, { telemetryProviders }: MeshTelemetry): boolean {
  return name === "prometheus" || telemetryProviders.get(name)?.metrics === true;
}
