import { Collection } from "../../model/collection.ts";
import { byAge } from "../../model/meta.ts";
import type { DestinationRuleFacts, SubsetFacts } from "./destination-rule.ts";
import type { TrafficBlocks, TrafficPolicyFacts } from "./traffic-policy.ts";
import { isVisible, wildcardsOf } from "./values.ts";
import { add, remove } from "./virtual-service-index.ts";

/** All rules of one host, namespace and visibility as one: the first policy, the subsets of all. */
export interface MergedRule {
  readonly namespace: string;
  /** Those that it is made of. */
  readonly names: readonly string[];
  readonly policy: TrafficPolicyFacts | undefined;
  readonly subsets: ReadonlyMap<string, SubsetFacts>;
}

/** Which DestinationRule a client goes by. */
export class DestinationRuleIndex {
  readonly all = new Collection<DestinationRuleFacts>((before, after) => this.#changed(before, after));
  readonly #byHost = new Map<string, Set<DestinationRuleFacts>>();
  readonly #onHosts: (hosts: ReadonlySet<string>) => void;

  constructor(onHosts: (hosts: ReadonlySet<string>) => void) {
    this.#onHosts = onHosts;
  }

  /**
   * The client's namespace first (unless it is the root's), then the service's, then the root's; never of two of them.
   * Within one, the most specific host.
   */
  forHost(
    host: string,
    namespaces: { readonly client: string; readonly service: string; readonly root: string },
    exportedByDefault: readonly string[],
  ): MergedRule | undefined {
    const { client, service, root } = namespaces;
    for (const namespace of new Set([...(client === root ? [] : [client]), service, root])) {
      for (const pattern of [host, ...wildcardsOf(host)]) {
        const found = [...(this.#byHost.get(pattern) ?? [])].filter(
          (rule) => rule.namespace === namespace && !rule.selective && isVisible(rule, client, exportedByDefault),
        );
        if (found.length > 0) return merged(found);
      }
    }
    return undefined;
  }

  #changed(before: DestinationRuleFacts | undefined, after: DestinationRuleFacts | undefined): void {
    const hosts = new Set<string>();
    for (const rule of [before, after]) if (rule !== undefined) hosts.add(rule.host);
    if (before !== undefined) remove(this.#byHost, before.host, before);
    if (after !== undefined) add(this.#byHost, after.host, after);
    this.#onHosts(hosts);
  }
}

function merged(rules: DestinationRuleFacts[]): MergedRule {
  const [first, ...others] = rules.sort(byAge);
  const same = [first as DestinationRuleFacts, ...others.filter((other) => exports(other) === exports(first))];
  const subsets = new Map<string, SubsetFacts>();
  for (const rule of same) {
    for (const [name, subset] of rule.subsets) if (!subsets.has(name)) subsets.set(name, subset);
  }
  return {
    namespace: first?.namespace ?? "",
    names: same.map(({ name }) => name),
    policy: same.find(({ policy }) => policy !== undefined)?.policy,
    subsets,
  };
}

function exports(rule: DestinationRuleFacts | undefined): string {
  return [...(rule?.exportTo ?? [])].sort().join(",");
}

/** What is in force for one port and subset: the subset over the rule over the mesh, block by block. */
export function blocksFor(
  rule: MergedRule | undefined,
  subset: string,
  port: number,
  mesh: TrafficPolicyFacts | undefined,
): TrafficBlocks {
  let blocks: TrafficBlocks = {};
  for (const policy of [mesh, rule?.policy, rule?.subsets.get(subset)?.policy]) {
    if (policy === undefined) continue;
    // What the settings of a port leave out is the default again.
    const { ports, ...own } = policy;
    blocks = ports.get(port) ?? { ...blocks, ...own };
  }
  return blocks;
}
