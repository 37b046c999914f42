/** What is to be said of a Telemetry beside what is wrong with its fields: again when what it depends on has changed. */
import type { Verdict } from "../../model/accepted.ts";
import { keyOf, metaOf } from "../../model/meta.ts";
import type { ServiceLookup } from "../../model/service-lookup.ts";
import { ACCEPTED, objectFinding } from "../../status/findings.ts";
import type { Finding } from "../../status/status-writer.ts";
import type { MeshConfigFacts } from "../istio/mesh-config.ts";
import { describeProviderService, providerDefinition } from "../provider-service.ts";
import type { TelemetryProvider } from "./provider.ts";
import type { TelemetryFacts } from "./telemetry-facts.ts";
import type { TelemetryIndex } from "./telemetry-index.ts";

export interface TelemetryFindingsOptions {
  readonly telemetry: () => TelemetryIndex;
  readonly config: () => MeshConfigFacts;
  readonly services: ServiceLookup;
  readonly clusterDomain: string;
  readonly onFinding: (finding: Finding) => void;
}

/** What a Telemetry may want of a provider. */
type Use = "logs" | "spans" | "metrics";

/** Istio's own, which nobody has to configure. */
const BUILT_IN: ReadonlyMap<string, TelemetryProvider> = new Map([
  ["envoy", { log: {} }],
  ["prometheus", { metrics: true }],
  ["stackdriver", { unsupported: "stackdriver" }],
]);

export class TelemetryFindings {
  readonly #options: TelemetryFindingsOptions;
  readonly #verdicts = new Map<string, Verdict<TelemetryFacts>>();

  constructor(options: TelemetryFindingsOptions) {
    this.#options = options;
  }

  /** A version of a Telemetry was read. */
  note(verdict: Verdict<TelemetryFacts>): void {
    this.#verdicts.set(keyOf(metaOf(verdict.object)), verdict);
    this.#tell(verdict);
  }

  /** The mesh's configuration, a service or another Telemetry may have come or gone. */
  recheckAll(): void {
    const { all } = this.#options.telemetry();
    for (const [key, verdict] of this.#verdicts) {
      if (all.get(key) === undefined) this.#verdicts.delete(key);
      else this.#tell(verdict);
    }
  }

  #tell(verdict: Verdict<TelemetryFacts>): void {
    const { object, problems, facts } = verdict;
    const obstacle = problems.length > 0 || facts === undefined ? "" : this.#obstacle(facts);
    const condition = { type: ACCEPTED, status: "False", reason: "Invalid", message: obstacle } as const;
    this.#options.onFinding(obstacle === "" ? objectFinding(verdict) : { object, condition, always: true });
  }

  #obstacle(facts: TelemetryFacts): string {
    const winner = this.#options.telemetry().winnerOver(facts);
    const wanted = new Map<string, string>();
    const want = (use: Use, name: string | undefined) => {
      const problem = name === undefined ? "" : this.#problemOf(use, name);
      if (problem !== "") wanted.set(`${use} ${name}`, problem);
    };
    for (const { provider } of facts.tracing) want("spans", provider);
    for (const { providers, disabled } of facts.logging)
      for (const name of providers) if (!disabled) want("logs", name);
    for (const { providers } of facts.metrics) for (const name of providers) want("metrics", name);
    return [
      ...(winner === undefined ? [] : [`${keyOf(winner)} is older and counts in its place`]),
      ...wanted.values(),
    ].join("; ");
  }

  #problemOf(use: Use, name: string): string {
    const { config, services, clusterDomain } = this.#options;
    const { telemetryProviders, extensionProviders } = config();
    const provider = telemetryProviders.get(name) ?? BUILT_IN.get(name);
    if (provider === undefined) {
      return extensionProviders.has(name)
        ? `provider "${name}" takes no ${use}`
        : `meshConfig.extensionProviders has no "${name}": its ${use} are lost`;
    }
    const { unsupported, tracer, log, metrics } = provider;
    if (unsupported !== undefined) return `provider "${name}" is of a kind that waypoints do not have: ${unsupported}`;
    const takes = { logs: log !== undefined, spans: tracer !== undefined, metrics: metrics === true };
    if (!takes[use]) return `provider "${name}" takes no ${use}`;
    if (use !== "spans" || tracer === undefined) return "";
    if (providerDefinition(tracer.service, services, clusterDomain) !== undefined) return "";
    return `provider "${name}" has no ${describeProviderService(tracer.service)}: its spans are lost`;
  }
}
