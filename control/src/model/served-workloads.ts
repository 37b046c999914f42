import { isDeepStrictEqual } from "node:util";
import type { Labels } from "./meta.ts";
import { OwnedNames } from "./owned-names.ts";

/** Which workloads stand behind which service, and under what labels. */
export class ServedWorkloads {
  readonly #labels = new Map<string, Labels>();
  readonly #servicesOf = new Map<string, readonly string[]>();
  readonly #uidsOf = new OwnedNames();
  #changed = new Set<string>();

  uidsOf(service: string): ReadonlySet<string> {
    return this.#uidsOf.of(service);
  }

  labelsOf(uid: string): Labels | undefined {
    return this.#labels.get(uid);
  }

  hasLabels(uid: string, labels: Labels): boolean {
    const known = this.#labels.get(uid);
    return known === labels || (known !== undefined && isDeepStrictEqual(known, labels));
  }

  servicesOf(uid: string): readonly string[] {
    return this.#servicesOf.get(uid) ?? [];
  }

  set(uid: string, labels: Labels, services: readonly string[]): void {
    this.delete(uid);
    this.#labels.set(uid, labels);
    this.#servicesOf.set(uid, services);
    for (const service of services) {
      this.#uidsOf.add(service, uid);
      this.#changed.add(service);
    }
  }

  delete(uid: string): void {
    for (const service of this.servicesOf(uid)) {
      this.#uidsOf.remove(service, uid);
      this.#changed.add(service);
    }
    this.#labels.delete(uid);
    this.#servicesOf.delete(uid);
  }

  /** Services with other workloads than at the last call. */
  takeChanged(): ReadonlySet<string> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }
}
