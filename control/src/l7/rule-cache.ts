/**
 * Encoded routes of what has not changed: taken as they are while clusters are called as before, and of a single rule also
 * after that, if the names in it are the same.
 */
import type { HttpRuleFacts } from "./istio/http-rule.ts";
import type { VirtualServiceFacts } from "./istio/virtual-service.ts";
import type { NamedCluster } from "./program-clusters.ts";
import type { EncodedRoutes } from "./route-groups.ts";

/** What a rule is on a port, and which clusters it sends to. */
export interface CachedRule {
  readonly clusters: readonly NamedCluster[];
  readonly encoded: EncodedRoutes;
  /** Nothing comes past it. */
  readonly ends: boolean;
  /** What the routes were made of beside the rule. */
  readonly key: string;
  readonly naming: object;
}

/** A rule as it would be encoded now. */
export interface RuleInputs {
  readonly clusters: readonly NamedCluster[];
  readonly key: string;
  readonly ends?: boolean;
  encode(): EncodedRoutes;
}

/** What a VirtualService adds to the routes of a port. */
export interface RunContent {
  readonly encoded: readonly EncodedRoutes[];
  readonly clusters: readonly NamedCluster[];
  /** Nothing comes past it. */
  readonly ends: boolean;
}

interface CachedRun extends RunContent {
  readonly rules: readonly HttpRuleFacts[];
  readonly naming: object;
}

export class RuleCache {
  readonly #rules = new WeakMap<object, Map<string, CachedRule>>();
  readonly #runs = new WeakMap<VirtualServiceFacts, Map<number, CachedRun>>();

  /** `source` is what the rule is made of, and another object when that is another. */
  rule(source: object, where: string, naming: object, inputs: () => RuleInputs): CachedRule {
    const entries = entriesOf(this.#rules, source);
    const known = entries.get(where);
    if (known?.naming === naming) return known;
    const { clusters, key, ends = false, encode } = inputs();
    const entry = { clusters, key, ends, naming, encoded: known?.key === key ? known.encoded : encode() };
    entries.set(where, entry);
    return entry;
  }

  /** `rules` are those of `facts`, with what it delegates to. */
  run(
    facts: VirtualServiceFacts,
    port: number,
    rules: readonly HttpRuleFacts[],
    naming: object,
    encode: () => RunContent,
  ): RunContent {
    const entries = entriesOf(this.#runs, facts);
    const known = entries.get(port);
    if (known?.naming === naming && known.rules === rules) return known;
    const entry = { ...encode(), rules, naming };
    entries.set(port, entry);
    return entry;
  }
}

function entriesOf<O extends object, K, V>(all: WeakMap<O, Map<K, V>>, of: O): Map<K, V> {
  let entries = all.get(of);
  if (entries === undefined) {
    entries = new Map();
    all.set(of, entries);
  }
  return entries;
}
