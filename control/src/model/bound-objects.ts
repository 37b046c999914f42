import { OwnedNames } from "./owned-names.ts";
import type { BindingKind } from "./waypoints.ts";

/** Services (`namespace/hostname`) and workloads (uid) by the Gateway that owns the traffic to them. */
export class BoundObjects {
  readonly #gatewayOf = { service: new Map<string, string>(), workload: new Map<string, string>() };
  readonly #objectsOf = { service: new OwnedNames(), workload: new OwnedNames() };
  #changed = new Set<string>();

  services(gateway: string): ReadonlySet<string> {
    return this.#objectsOf.service.of(gateway);
  }

  workloads(gateway: string): ReadonlySet<string> {
    return this.#objectsOf.workload.of(gateway);
  }

  /** Key of the Gateway that a service is behind, `namespace/name`. */
  gatewayOfService(key: string): string | undefined {
    return this.#gatewayOf.service.get(key);
  }

  set(kind: BindingKind, object: string, gateway: string | undefined): void {
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
