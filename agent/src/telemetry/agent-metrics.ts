/** Everything that is scraped on port 15020. Nothing is counted here: sums are read when a scrape comes. */
import { readdirSync, readFileSync } from "node:fs";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { DirectFigures } from "../direct/direct-path.ts";
import type { EngineStats } from "../native.ts";
import type { Series } from "./series.ts";
import { TCP_LABELS, type TcpLabels } from "./series.ts";

/** What the metrics read. */
export interface MetricsSources {
  /** Brings the live part of the series up to date, at most once per scrape. */
  readonly refresh: () => void;
  readonly series: () => Iterable<Series>;
  /** Open connections by reporter, as of the last refresh. */
  readonly open: () => { readonly source: number; readonly destination: number };
  readonly engine: () => EngineStats;
  readonly bpf: () => Readonly<Record<string, number>>;
  readonly direct: () => DirectFigures;
  readonly eventsLost: () => number;
  readonly pods: () => { active: number; pending: number; started: number; stopped: number };
  readonly mesh: () => { workloads: number; services: number; policies: number; routes: number };
  readonly identities: () => { available: number; missing: number };
  readonly connected: () => boolean;
  readonly tag: string;
}

const DNS_LABELS = [
  "request_query_type",
  "request_protocol",
  "source_canonical_service",
  "source_canonical_revision",
] as const;

export class AgentMetrics {
  readonly registry = new Registry();
  readonly xdsTerminations: Counter<"reason">;
  readonly xdsMessages: Counter<"url">;
  readonly xdsBytes: Counter<"url">;
  readonly dnsRequests: Counter<(typeof DNS_LABELS)[number]>;
  readonly dnsUpstream: Counter<(typeof DNS_LABELS)[number]>;
  readonly dnsFailures: Counter<(typeof DNS_LABELS)[number]>;
  readonly dnsSeconds: Histogram<(typeof DNS_LABELS)[number]>;
  readonly #sources: MetricsSources;

  constructor(sources: MetricsSources) {
    this.#sources = sources;
    this.#connectionMetrics();
    this.#directMetrics();
    this.#stateMetrics();
    this.#processMetrics();
    const registers = [this.registry];
    this.xdsTerminations = new Counter({
      name: "istio_xds_connection_terminations_total",
      help: "Ends of xDS streams",
      labelNames: ["reason"],
      registers,
    });
    this.xdsMessages = new Counter({
      name: "istio_xds_message_total",
      help: "xDS responses received",
      labelNames: ["url"],
      registers,
    });
    this.xdsBytes = new Counter({
      name: "istio_xds_message_bytes_total",
      help: "Bytes of xDS responses received",
      labelNames: ["url"],
      registers,
    });
    const dns = { labelNames: DNS_LABELS, registers };
    this.dnsRequests = new Counter({ name: "istio_dns_requests_total", help: "DNS requests of pods", ...dns });
    this.dnsUpstream = new Counter({
      name: "istio_dns_upstream_requests_total",
      help: "DNS requests forwarded",
      ...dns,
    });
    this.dnsFailures = new Counter({
      name: "istio_dns_upstream_failures_total",
      help: "Forwarded DNS requests without an answer",
      ...dns,
    });
    this.dnsSeconds = new Histogram({
      name: "istio_dns_upstream_request_duration_seconds",
      help: "Time until a forwarded DNS request was answered",
      buckets: [0.0005, 0.001, 0.01, 0.1, 1, 5],
      ...dns,
    });
  }

  #connectionMetrics(): void {
    this.#tcp("istio_tcp_connections_opened_total", "TCP connections opened", (series, add) =>
      add(series.labels, series.opened()),
    );
    this.#tcp("istio_tcp_connections_closed_total", "TCP connections closed", (series, add) => {
      for (const [flag, count] of series.closedByFlag) add(withFlag(series.labels, flag), count);
    });
    this.#tcp("istio_tcp_sent_bytes_total", "Bytes sent in the response direction", (series, add) =>
      add(series.labels, series.sent()),
    );
    this.#tcp("istio_tcp_received_bytes_total", "Bytes received in the request direction", (series, add) =>
      add(series.labels, series.received()),
    );
    this.#tcp("istio_tcp_connections_failed_total", "TCP connections that were never established", (series, add) => {
      for (const [flag, count] of series.failedByFlag) add(withFlag(series.labels, flag), count);
    });
    const sources = this.#sources;
    new Gauge({
      name: "istio_tcp_sockets_open",
      help: "Connections open now",
      labelNames: ["reporter"],
      registers: [this.registry],
      collect() {
        sources.refresh();
        const { source, destination } = sources.open();
        this.set({ reporter: "source" }, source);
        this.set({ reporter: "destination" }, destination);
      },
    });
    new Counter({
      name: "weft_reasons_total",
      help: "Why connections were refused, dropped, ended, captured or passed, by the plane that decided",
      labelNames: ["plane", "reason"],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [reason, count] of Object.entries(sources.engine().reasons)) {
          this.inc({ plane: "engine", reason }, count);
        }
        for (const [reason, count] of Object.entries(sources.bpf())) this.inc({ plane: "bpf", reason }, count);
      },
    });
    this.#counter("weft_events_lost_total", "Connection events that telemetry did not keep up with", () =>
      sources.eventsLost(),
    );
    this.#gauge("weft_tunnels_open", "HBONE connections open now", () => sources.engine().openTunnels);
    this.#gauge("weft_buffered_bytes", "Bytes in the engine's own buffers", () => sources.engine().bufferedBytes);
  }

  #directMetrics(): void {
    const { direct } = this.#sources;
    this.#gauge("weft_direct_routes", "Routes that BPF follows without the agent", () => direct().routes);
    this.#gauge("weft_direct_verdicts", "Verdicts on pairs of pods that these routes need", () => direct().verdicts);
    this.#counter("weft_direct_failures_total", "Decisions that the maps did not take", () => direct().failures);
    this.#counter(
      "weft_direct_ended_total",
      "Connections outside the agent that were ended because policies no longer allow them",
      () => direct().ended,
    );
    this.#gauge("weft_redirected_pods", "Pods with peer redirect", () => direct().redirected);
    this.#gauge("weft_express_offered", "1 where express connections are offered", () => (direct().express ? 1 : 0));
  }

  #stateMetrics(): void {
    const { pods, mesh, identities, connected, tag } = this.#sources;
    this.#gauge("workload_manager_active_proxy_count", "Pods of this node that are captured", () => pods().active);
    this.#gauge("workload_manager_pending_proxy_count", "Pods of this node to be captured", () => pods().pending);
    this.#counter("workload_manager_proxies_started_total", "Pods enrolled since the start", () => pods().started);
    this.#counter("workload_manager_proxies_stopped_total", "Pods unenrolled since the start", () => pods().stopped);
    this.#gauge("weft_workloads", "Workloads known", () => mesh().workloads);
    this.#gauge("weft_services", "Services known", () => mesh().services);
    this.#gauge("weft_policies", "Authorization policies known", () => mesh().policies);
    this.#gauge("weft_routes", "Routes that the engine holds", () => mesh().routes);
    this.#gauge("weft_identities_available", "Identities with a valid certificate", () => identities().available);
    this.#gauge("weft_identities_missing", "Identities without a valid certificate", () => identities().missing);
    this.#gauge("weft_xds_connected", "1 while a stream to the control plane is open", () => (connected() ? 1 : 0));
    new Gauge({
      name: "istio_build",
      help: "Component build",
      labelNames: ["component", "tag"],
      registers: [this.registry],
    }).set({ component: "ztunnel", tag }, 1);
  }

  #processMetrics(): void {
    this.#gauge("process_open_fds", "Open file descriptors", () => readdirSync("/proc/self/fd").length);
    this.#gauge("process_max_fds", "Limit of open file descriptors", maxFileDescriptors);
    this.#gauge("process_resident_memory_bytes", "Resident memory", () => process.memoryUsage.rss());
    this.#counter("process_cpu_seconds_total", "User and system time", () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    });
  }

  #tcp(
    name: string,
    help: string,
    each: (series: Series, add: (labels: TcpLabels, value: number) => void) => void,
  ): void {
    const sources = this.#sources;
    new Counter({
      name,
      help,
      labelNames: TCP_LABELS,
      registers: [this.registry],
      collect() {
        sources.refresh();
        this.reset();
        for (const series of sources.series()) each(series, (labels, value) => this.inc(labels, value));
      },
    });
  }

  #gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.set(read());
      },
    });
  }

  #counter(name: string, help: string, read: () => number): void {
    new Counter({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }
}

/** Same order of labels: the one with the flag stands where the dash stood. */
function withFlag(labels: TcpLabels, flag: string): TcpLabels {
  return { ...labels, response_flags: flag };
}

function maxFileDescriptors(): number {
  const line = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
  return Number(line?.[1] ?? 0);
}
