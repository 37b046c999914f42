/** What a Telemetry's overrides make of the standard metrics. */

import type { AttributeSource } from "#lib/telemetry/attributes.ts";
import { CelError, type CelExpression, compileCel, needsRequests } from "#lib/telemetry/cel.ts";
import type { MetricOverride } from "#proto/l7_pb.ts";
import type { Labels } from "./labels.ts";

/** Istio's name of the enum in Telemetry, by metric. */
export const METRICS = {
  istio_requests_total: "REQUEST_COUNT",
  istio_request_duration_milliseconds: "REQUEST_DURATION",
  istio_request_bytes: "REQUEST_SIZE",
  istio_response_bytes: "RESPONSE_SIZE",
  istio_request_messages_total: "GRPC_REQUEST_MESSAGES",
  istio_response_messages_total: "GRPC_RESPONSE_MESSAGES",
  istio_tcp_sent_bytes_total: "TCP_SENT_BYTES",
  istio_tcp_received_bytes_total: "TCP_RECEIVED_BYTES",
  istio_tcp_connections_opened_total: "TCP_OPENED_CONNECTIONS",
  istio_tcp_connections_closed_total: "TCP_CLOSED_CONNECTIONS",
} as const;
export type MetricName = keyof typeof METRICS;
export const METRIC_NAMES = Object.keys(METRICS) as readonly MetricName[];

interface Tags {
  disabled: boolean;
  /** Undefined: the tag is removed. */
  readonly changes: Map<string, CelExpression | undefined>;
}

/** What Istio's proxies show for an expression without a value. */
const NO_VALUE = "unknown";
const ALL = new Set(["", "ALL_METRICS"]);

export class MetricPlan {
  readonly #tags = new Map<MetricName, Tags>();
  /** Some tag needs each request: HTTP metrics are then counted from records, not from series. */
  readonly fromRequests: boolean;
  /** Expressions that were left out, with the reason. */
  readonly problems: readonly string[];

  constructor(overrides: readonly MetricOverride[]) {
    const problems: string[] = [];
    // From outer to inner: what is written last holds.
    for (const override of overrides) this.#add(override, problems);
    this.problems = problems;
    this.fromRequests = METRIC_NAMES.filter((name) => !name.startsWith("istio_tcp_")).some((name) =>
      [...(this.#tags.get(name)?.changes.values() ?? [])].some((tag) => tag !== undefined && needsRequests(tag)),
    );
  }

  /** Undefined: the metric is off. The same object when nothing changes. */
  labels(metric: MetricName, standard: Labels, source: AttributeSource): Labels | undefined {
    const tags = this.#tags.get(metric);
    if (tags === undefined) return standard;
    if (tags.disabled) return undefined;
    if (tags.changes.size === 0) return standard;
    const labels = { ...standard };
    for (const [name, expression] of tags.changes) {
      if (expression === undefined) delete labels[name];
      else labels[name] = tagText(expression.evaluate(source));
    }
    return labels;
  }

  #add(override: MetricOverride, problems: string[]): void {
    const changes = new Map<string, CelExpression | undefined>();
    for (const name of override.removeTags) changes.set(name, undefined);
    for (const [name, text] of Object.entries(override.upsertTags)) {
      if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name)) {
        problems.push(`tag ${name}: not a label's name`);
        continue;
      }
      try {
        changes.set(name, compileCel(text));
      } catch (error) {
        if (!(error instanceof CelError)) throw error;
        problems.push(`tag ${name}: ${error.message}`);
      }
    }
    for (const metric of METRIC_NAMES.filter((name) => named(override.metric, name))) {
      const tags = this.#tags.get(metric) ?? { disabled: false, changes: new Map() };
      if (override.disabled !== undefined) tags.disabled = override.disabled;
      for (const [name, change] of changes) tags.changes.set(name, change);
      this.#tags.set(metric, tags);
    }
  }
}

function named(wanted: string, metric: MetricName): boolean {
  return ALL.has(wanted) || wanted === METRICS[metric] || wanted === metric || `istio_${wanted}` === metric;
}

function tagText(value: unknown): string {
  if (typeof value === "string") return value === "" ? NO_VALUE : value;
  if (typeof value === "bigint" || typeof value === "number" || typeof value === "boolean") return String(value);
  return NO_VALUE;
}
