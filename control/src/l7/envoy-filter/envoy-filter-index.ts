/** EnvoyFilters by what they are for. */
import { Collection } from "../../model/collection.ts";
import { byAge, keyOf } from "../../model/meta.ts";
import { type Target, targetKey } from "../security/policy-target.ts";
import type { EnvoyFilterFacts, LimitPatch } from "./envoy-filter.ts";

export class EnvoyFilterIndex {
  readonly all: Collection<EnvoyFilterFacts>;
  readonly #root: string;

  /** `onChange` is given the key of one that is gone. */
  constructor(rootNamespace: string, onChange: (gone: string | undefined) => void) {
    this.#root = rootNamespace;
    this.all = new Collection((before, after) => onChange(before && after === undefined ? keyOf(before) : undefined));
  }

  patchesFor(targets: readonly Target[]): LimitPatch[] {
    return this.filtersFor(targets).flatMap(({ patches }) => patches);
  }

  /** In the order in which they are applied: root namespace, priority, age. */
  filtersFor(targets: readonly Target[]): EnvoyFilterFacts[] {
    if (this.all.size === 0) return [];
    const wanted = new Set(targets.map(targetKey));
    const namespaces = new Set([this.#root, ...targets.map(({ namespace }) => namespace)]);
    const isRoot = ({ namespace }: EnvoyFilterFacts) => (namespace === this.#root ? 0 : 1);
    return [...namespaces]
      .flatMap((namespace) => [...this.all.inNamespace(namespace)])
      .filter(({ targets: of }) => of.some((target) => wanted.has(targetKey(target))))
      .sort((a, b) => isRoot(a) - isRoot(b) || a.priority - b.priority || byAge(a, b));
  }
}
