/** Metrics of the process itself, beside those of traffic. */
import { readdirSync } from "node:fs";
import { Counter, Gauge, type Registry } from "prom-client";
import type { L7EngineStats } from "../native.ts";

export interface ProxySources {
  readonly stats: () => Omit<L7EngineStats, "clusters">;
  readonly linesDropped: () => number;
  readonly spansSent: () => number;
  readonly spansDropped: () => number;
  /** Of `istio_build`. */
  readonly tag: string;
}

export function registerProxyMetrics(registry: Registry, sources: ProxySources): void {
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  };
  const counter = (name: string, help: string, read: () => number): void => {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  };
  const { stats } = sources;
  gauge("weft_connections_open", "Connections from clients open now", () => stats().openConnections);
  gauge("weft_requests_open", "Requests open now", () => stats().openRequests);
  gauge("weft_tunnels_open", "HBONE connections open now", () => stats().openTunnels);
  gauge("weft_buffered_bytes", "Bytes in the engine's own buffers", () => stats().bufferedBytes);
  counter(
    "weft_records_lost_total",
    "Records of requests that telemetry did not keep up with",
    () => stats().recordsLost,
  );
  counter(
    "weft_series_overflowed_total",
    'Requests counted as "other" for want of room',
    () => stats().seriesOverflowed,
  );
  counter("weft_access_log_lines_dropped_total", "Lines that nobody read in time", sources.linesDropped);
  counter("weft_spans_sent_total", "Spans that collectors have taken", sources.spansSent);
  counter("weft_spans_dropped_total", "Spans that no collector got", sources.spansDropped);
  gauge("process_open_fds", "Open file descriptors", () => readdirSync("/proc/self/fd").length);
  gauge("process_resident_memory_bytes", "Resident memory", () => process.memoryUsage.rss());
  counter("process_cpu_seconds_total", "User and system time", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  const build = new Gauge({
    name: "istio_build",
    help: "Component build",
    labelNames: ["component", "tag"],
    registers,
  });
  build.set({ component: "proxy", tag: sources.tag }, 1);
}
