import { serviceKey } from "#lib/xds/types.ts";
import { Collection } from "../../model/collection.ts";
import { byAge, keyOf } from "../../model/meta.ts";
import { delegated } from "./delegate.ts";
import type { HttpRuleFacts } from "./http-rule.ts";
import { isVisible, wildcardsOf } from "./values.ts";
import { MESH_GATEWAY, type VirtualServiceFacts } from "./virtual-service.ts";

/** Which VirtualServices say something of a host. */
export class VirtualServiceIndex {
  readonly all = new Collection<VirtualServiceFacts>((before, after) => this.#changed(before, after));
  readonly #byHost = new Map<string, Set<VirtualServiceFacts>>();
  /** Delegates to those that hand over to them. */
  readonly #rootsOf = new Map<string, Set<VirtualServiceFacts>>();
  readonly #expanded = new WeakMap<
    VirtualServiceFacts,
    { delegates: readonly (VirtualServiceFacts | undefined)[]; rules: HttpRuleFacts[] }
  >();
  readonly #onHosts: (hosts: ReadonlySet<string>) => void;

  readonly #onGone: (key: string) => void;

  /** `onHosts` is told for which hosts, wildcards among them, something changed; `onGone` what there is no more. */
  constructor(onHosts: (hosts: ReadonlySet<string>) => void, onGone: (key: string) => void = () => {}) {
    this.#onHosts = onHosts;
    this.#onGone = onGone;
  }

  /** Those that count at a waypoint for a service, oldest first: only the most specific host's. */
  forService(
    service: { readonly namespace: string; readonly hostname: string },
    waypointNamespace: string,
    exportedByDefault: readonly string[],
  ): VirtualServiceFacts[] {
    for (const host of [service.hostname, ...wildcardsOf(service.hostname)]) {
      const found = [...(this.#byHost.get(host) ?? [])].filter(
        (facts) =>
          facts.gateways.some((gateway) => gateway === MESH_GATEWAY) &&
          (facts.namespace === waypointNamespace || facts.namespace === service.namespace) &&
          isVisible(facts, waypointNamespace, exportedByDefault),
      );
      if (found.length > 0) return found.sort(byAge);
    }
    return [];
  }

  /** With the rules of delegates in place of those that hand over. */
  rulesOf(facts: VirtualServiceFacts, exportedByDefault: readonly string[]): readonly HttpRuleFacts[] {
    if (!facts.http.some(({ action }) => action.kind === "delegate")) return facts.http;
    const delegates = facts.http.map(({ action }) =>
      action.kind === "delegate" ? this.all.get(serviceKey(action.namespace, action.name)) : undefined,
    );
    const known = this.#expanded.get(facts);
    if (known?.delegates.every((delegate, index) => delegate === delegates[index])) return known.rules;
    const rules = facts.http.flatMap((rule, index) => {
      if (rule.action.kind !== "delegate") return [rule];
      const delegate = delegates[index];
      if (delegate === undefined || delegate.hosts.length > 0) return [];
      if (!isVisible(delegate, facts.namespace, exportedByDefault)) return [];
      return delegated(rule, delegate.http);
    });
    this.#expanded.set(facts, { delegates, rules });
    return rules;
  }

  #changed(before: VirtualServiceFacts | undefined, after: VirtualServiceFacts | undefined): void {
    const hosts = new Set<string>();
    for (const host of before?.hosts ?? []) remove(this.#byHost, host, before as VirtualServiceFacts);
    for (const host of after?.hosts ?? []) add(this.#byHost, host, after as VirtualServiceFacts);
    for (const delegate of delegatesOf(before)) remove(this.#rootsOf, delegate, before as VirtualServiceFacts);
    for (const delegate of delegatesOf(after)) add(this.#rootsOf, delegate, after as VirtualServiceFacts);
    const key = keyOf((after ?? before) as VirtualServiceFacts);
    if (after === undefined) this.#onGone(key);
    for (const facts of [before, after, ...(this.#rootsOf.get(key) ?? [])]) {
      for (const host of facts?.hosts ?? []) hosts.add(host);
    }
    if (hosts.size > 0) this.#onHosts(hosts);
  }
}

function* delegatesOf(facts: VirtualServiceFacts | undefined): Generator<string> {
  for (const { action } of facts?.http ?? []) {
    if (action.kind === "delegate") yield serviceKey(action.namespace, action.name);
  }
}

export function add<T>(sets: Map<string, Set<T>>, key: string, value: T): void {
  const set = sets.get(key);
  if (set === undefined) sets.set(key, new Set([value]));
  else set.add(value);
}

export function remove<T>(sets: Map<string, Set<T>>, key: string, value: T): void {
  const set = sets.get(key);
  set?.delete(value);
  if (set?.size === 0) sets.delete(key);
}
