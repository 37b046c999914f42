/** What AuthorizationPolicies that are only tried would have done, under the names that Istio's proxies have for it. */
import { Counter, type Registry } from "prom-client";
import { portText } from "./address.ts";
import type { RequestRecord } from "./records.ts";

export type DryRunAction = "deny" | "allow";

export interface DryRunResult {
  readonly action: DryRunAction;
  readonly result: string;
  /** Such as `ns[shop]-policy[tried]-rule[0]`; empty: no rule matched. */
  readonly policy: string;
}

const TEXTS = [
  ["deny", "dryRunDeny"],
  ["allow", "dryRunAllow"],
] as const;
/** What Envoy keeps of a request under this name, and who asks for it. */
const METADATA = /^envoy\.filters\.http\.rbac:istio_dry_run_(deny|allow)_shadow_(engine_result|effective_policy_id)$/;
/** Ports are those of destinations, which the control plane gives; nobody has as many. */
const MAX_PORTS = 1_000;
const LABELS = ["authz_dry_run_action", "authz_dry_run_result"] as const;

export function dryRunsOf(record: RequestRecord): DryRunResult[] {
  return TEXTS.flatMap(([action, name]) => {
    const text = record.text(name);
    if (text === "") return [];
    const space = text.indexOf(" ");
    if (space === -1) return [{ action, result: text, policy: "" }];
    return [{ action, result: text.slice(0, space), policy: text.slice(space + 1) }];
  });
}

/** The value of `%DYNAMIC_METADATA(argument)%`. */
export function dryRunReader(argument: string): ((record: RequestRecord) => string | undefined) | undefined {
  const [, action, what] = METADATA.exec(argument) ?? [];
  if (action === undefined) return undefined;
  return (record) => {
    const found = dryRunsOf(record).find((each) => each.action === action);
    return (what === "engine_result" ? found?.result : found?.policy) || undefined;
  };
}

/** Tags of a span. */
export function dryRunTags(record: RequestRecord, tags: Map<string, string>): void {
  for (const { action, result, policy } of dryRunsOf(record)) {
    const name = `istio.authorization.dry_run.${action}_policy`;
    if (policy !== "") tags.set(`${name}.name`, policy);
    tags.set(`${name}.result`, result);
  }
}

export class DryRunMetrics {
  readonly #registry: Registry;
  readonly #counters = new Map<string, Counter<(typeof LABELS)[number]>>();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  count(record: RequestRecord): void {
    const results = dryRunsOf(record);
    if (results.length === 0) return;
    const counter = this.#counter(record);
    for (const { action, result } of results) {
      counter?.inc({ authz_dry_run_action: action, authz_dry_run_result: result });
    }
  }

  #counter(record: RequestRecord): Counter<(typeof LABELS)[number]> | undefined {
    const name = record.tcp
      ? "envoy_tcp_rbac"
      : `envoy_http_inbound_0_0_0_0_${portText(record.text("downstreamLocal"))}_rbac`;
    let counter = this.#counters.get(name);
    if (counter === undefined && this.#counters.size < MAX_PORTS) {
      const help = "What policies that are only tried would have said";
      counter = new Counter({ name, help, labelNames: LABELS, registers: [this.#registry] });
      this.#counters.set(name, counter);
    }
    return counter;
  }
}
