/**
 * The Telemetry resources of a waypoint, executed: metrics when somebody scrapes, lines and spans of the records that the
 * engine hands over.
 */
import { fromBinary } from "@bufbuild/protobuf";
import { Registry } from "prom-client";
import { errorText, type Logger } from "#lib/log.ts";
import { type Telemetry, TelemetrySchema } from "#proto/l7_pb.ts";
import type { L7EngineStats, L7Name, L7Resource } from "../native.ts";
import { AccessLog, DEFAULT_PATH } from "./access-log.ts";
import type { CallCluster } from "./collector.ts";
import { DryRunMetrics } from "./dry-run.ts";
import { LineWriter } from "./line-writer.ts";
import { MetricPlan } from "./metric-plan.ts";
import { registerProxyMetrics } from "./proxy-metrics.ts";
import { decodeRecords, type RequestRecord } from "./records.ts";
import type { ProxyFacts } from "./span.ts";
import { SpanReporter } from "./span-reporter.ts";
import { TrafficMetrics } from "./traffic-metrics.ts";

export interface WaypointTelemetryOptions {
  readonly series: () => Uint8Array;
  readonly stats: () => Omit<L7EngineStats, "clusters">;
  /** The way to collectors. */
  readonly call: CallCluster;
  readonly proxy: ProxyFacts;
  readonly log: Logger;
  /** Of `istio_build`. */
  readonly tag: string;
}

/** One Telemetry, ready for records. */
interface Execution {
  readonly plan: MetricPlan;
  readonly logs: readonly AccessLog[];
  readonly spans: { readonly key: string; readonly report: (record: RequestRecord) => void } | undefined;
}

export class WaypointTelemetry {
  readonly registry = new Registry();
  readonly #options: WaypointTelemetryOptions;
  readonly #traffic: TrafficMetrics;
  readonly #dryRuns: DryRunMetrics;
  readonly #spans: SpanReporter;
  readonly #writers = new Map<string, LineWriter>();
  readonly #executions = new Map<string, Execution>();

  constructor(options: WaypointTelemetryOptions) {
    this.#options = options;
    this.#spans = new SpanReporter(options.call, options.proxy, options.log);
    this.#traffic = new TrafficMetrics(options.series);
    this.#traffic.register(this.registry);
    this.#dryRuns = new DryRunMetrics(this.registry);
    registerProxyMetrics(this.registry, {
      stats: options.stats,
      tag: options.tag,
      linesDropped: () => [...this.#writers.values()].reduce((sum, { dropped }) => sum + dropped, 0),
      spansSent: () => this.#spans.sent,
      spansDropped: () => this.#spans.dropped,
    });
  }

  /** What the engine has taken of the program. Resources of other types are none of ours. */
  apply(updated: readonly L7Resource[], removed: readonly L7Name[]): void {
    let changed = false;
    for (const { type, name } of removed) {
      if (type === "Telemetry" && this.#executions.delete(name)) changed = true;
    }
    for (const { type, name, bytes } of updated) {
      if (type !== "Telemetry") continue;
      this.#executions.set(name, this.#execution(name, fromBinary(TelemetrySchema, bytes)));
      changed = true;
    }
    if (!changed) return;
    this.#traffic.setPlans(new Map([...this.#executions].map(([name, { plan }]) => [name, plan])));
    this.#spans.keep(new Set([...this.#executions.values()].flatMap(({ spans }) => spans?.key ?? [])));
  }

  onRecords(batch: Uint8Array): void {
    try {
      for (const record of decodeRecords(batch)) this.#execute(record);
    } catch (error) {
      this.#options.log.error("records lost", { bytes: batch.length, error: errorText(error) });
    }
  }

  /** Writes and sends what is left. */
  async close(): Promise<void> {
    await Promise.all([this.#spans.close(), ...[...this.#writers.values()].map((writer) => writer.flush())]);
  }

  #execute(record: RequestRecord): void {
    this.#dryRuns.count(record);
    const execution = this.#executions.get(record.text("telemetry"));
    if (execution === undefined) return;
    for (const log of execution.logs) log.log(record);
    if (record.sampled) execution.spans?.report(record);
    if (execution.plan.fromRequests) this.#traffic.count(record);
  }

  /** A part that cannot be executed is left out and said: the rest of a Telemetry is worth having. */
  #execution(name: string, { accessLogs, tracing, metricOverrides }: Telemetry): Execution {
    const plan = new MetricPlan(metricOverrides);
    for (const problem of plan.problems) this.#refuse(name, problem);
    const logs = accessLogs.flatMap((message) => {
      const writer = this.#writerOf(message.path === "" ? DEFAULT_PATH : message.path);
      return this.#attempt(name, () => new AccessLog(message, this.#options.proxy, (line) => writer.write(line))) ?? [];
    });
    const spans = tracing === undefined ? undefined : this.#attempt(name, () => this.#spans.reportOf(tracing));
    return { plan, logs, spans };
  }

  #attempt<T>(name: string, make: () => T): T | undefined {
    try {
      return make();
    } catch (error) {
      this.#refuse(name, errorText(error));
      return undefined;
    }
  }

  #refuse(name: string, problem: string): void {
    this.#options.log.warn("part of a telemetry left out", { telemetry: name, problem });
  }

  #writerOf(path: string): LineWriter {
    let writer = this.#writers.get(path);
    if (writer === undefined) {
      writer = new LineWriter(path, (error) =>
        this.#options.log.warn("access log not written", { path, error: errorText(error) }),
      );
      this.#writers.set(path, writer);
    }
    return writer;
  }
}
