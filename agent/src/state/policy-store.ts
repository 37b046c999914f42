/** All authorization policies, by `namespace/name`. */
import type { Policy } from "../native.ts";

export type PolicyScope = "global" | "namespace" | "workload-selector";

export interface StoredPolicy {
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly scope: PolicyScope;
  readonly policy: Policy;
}

export class PolicyStore {
  readonly #byKey = new Map<string, StoredPolicy>();
  readonly #global = new Set<string>();
  readonly #byNamespace = new Map<string, Set<string>>();

  get size(): number {
    return this.#byKey.size;
  }

  values(): IterableIterator<StoredPolicy> {
    return this.#byKey.values();
  }

  get(key: string): StoredPolicy | undefined {
    return this.#byKey.get(key);
  }

  upsert(policy: StoredPolicy): void {
    this.remove(policy.key);
    this.#byKey.set(policy.key, policy);
    if (policy.scope === "global") this.#global.add(policy.key);
    if (policy.scope === "namespace") {
      const set = this.#byNamespace.get(policy.namespace) ?? new Set();
      this.#byNamespace.set(policy.namespace, set.add(policy.key));
    }
  }

  remove(key: string): boolean {
    const policy = this.#byKey.get(key);
    if (policy === undefined) return false;
    this.#byKey.delete(key);
    this.#global.delete(key);
    const set = this.#byNamespace.get(policy.namespace);
    if (set?.delete(key) && set.size === 0) this.#byNamespace.delete(policy.namespace);
    return true;
  }

  /** Names of all policies for a workload: global, of its namespace, and those that it names; sorted, once each. */
  namesFor(namespace: string, selected: readonly string[]): string[] {
    return [...new Set([...this.#global, ...(this.#byNamespace.get(namespace) ?? []), ...selected])].sort();
  }
}
