/** Which Telemetry resources count for a waypoint and for a service behind it, from outer to inner. */
import { Collection } from "../../model/collection.ts";
import { byAge, keyOf } from "../../model/meta.ts";
import { type Target, targetKey } from "../security/policy-target.ts";
import type { TelemetryFacts } from "./telemetry-facts.ts";

export class TelemetryIndex {
  readonly all: Collection<TelemetryFacts>;
  readonly #root: string;

  constructor(rootNamespace: string, onChange: () => void) {
    this.#root = rootNamespace;
    this.all = new Collection(onChange);
  }

  /** Root namespace, namespace, then each target; the oldest of each. */
  layers(namespace: string, targets: readonly Target[]): TelemetryFacts[] {
    const found = [...new Set([this.#root, namespace])].map((each) => this.#ofNamespace(each));
    for (const target of targets) found.push(this.ofTarget(target));
    return [...new Set(found.filter((each) => each !== undefined))];
  }

  ofTarget(target: Target): TelemetryFacts | undefined {
    const key = targetKey(target);
    const namespace = target.kind === "GatewayClass" ? this.#root : target.namespace;
    return oldest(this.all.inNamespace(namespace), ({ targets }) =>
      (targets ?? []).some((each) => targetKey(each) === key),
    );
  }

  /** The older one of the same namespace, or of the same targets all, that counts in the place of this one. */
  winnerOver(facts: TelemetryFacts): TelemetryFacts | undefined {
    if (facts.selective) return undefined;
    const { targets, namespace } = facts;
    if (targets === undefined) return others(facts, [this.#ofNamespace(namespace)])[0];
    const winners = others(
      facts,
      targets.map((target) => this.ofTarget(target)),
    );
    return winners.length === targets.length ? winners[0] : undefined;
  }

  #ofNamespace(namespace: string): TelemetryFacts | undefined {
    return oldest(this.all.inNamespace(namespace), ({ targets, selective }) => targets === undefined && !selective);
  }
}

function others(facts: TelemetryFacts, found: readonly (TelemetryFacts | undefined)[]): TelemetryFacts[] {
  return found.filter((each) => each !== undefined).filter((each) => keyOf(each) !== keyOf(facts));
}

function oldest(all: Iterable<TelemetryFacts>, wanted: (facts: TelemetryFacts) => boolean): TelemetryFacts | undefined {
  return [...all].filter(wanted).sort(byAge)[0];
}
