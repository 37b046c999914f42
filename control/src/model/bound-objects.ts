import { OwnedNames } from "./owned-names.ts";
import type { BindingKind } from "./waypoints.ts";

/** Services (`namespace/hostname`) and workloads (uid) by the Gateway that owns the traffic to them. */
export class BoundObjects {
  readonly #gatewayOf = {
    service: new Map<string, string>(),
    workload: new Map<string, string>(),
    canary: new Map<string, string>(),
  };
  readonly #objectsOf = { service: new OwnedNames(), workload: new OwnedNames(), canary: new OwnedNames() };
  #changed = new Set<string>();

  /** Those that it gets a share of, too. */
  services(gateway: string): ReadonlySet<string> {
    const { service, canary } = this.#objectsOf;
    const shared = canary.of(gateway);
    return shared.size === 0 ? service.of(gateway) : new Set([...service.of(gateway), ...shared]);
  }

  workloads(gateway: string): ReadonlySet<string> {
    return this.#objectsOf.workload.of(gateway);
  }

  /** Key of the Gateway that a service is behind, `namespace/name`. */
  gatewayOfService(key: string): string | undefined {
    return this.#gatewayOf.service.get(key);
  }

  /** `canary`: a service of which this Gateway gets a share. */
  set(kind: BindingKind | "canary", object: string, gateway: string | undefined): void {
    const gateways = this.#gatewayOf[kind];
    const before = gateways.get(object);
    if (before === gateway) return;
    if (before !== undefined) {
      this.#objectsOf[kind].remove(before, object);
      this.#changed.add(before);
    }
    if (gateway === undefined) {
      gateways.delete(object);
    } else {
      gateways.set(object, gateway);
      this.#objectsOf[kind].add(gateway, object);
      this.#changed.add(gateway);
    }
  }

  /** Gateways with other objects than at the last call. */
  takeChange(): ReadonlySet<string> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }
}
