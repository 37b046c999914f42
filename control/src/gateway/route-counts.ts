/**
 * `attachedRoutes` of waypoints' listeners. No route names a waypoint as its parent: those count that are accepted at the
 * services behind it, for they are what is lost with it.
 */
import type { MeshRoutes } from "../l7/gateway-api/mesh-routes.ts";
import { hboneListener } from "../model/gateway.ts";
import type { MeshModel } from "../model/mesh-model.ts";
import { OwnedNames } from "../model/owned-names.ts";

/** Thousands of routes may change at once; each Gateway is counted once for all of them. */
const SETTLE_MS = 100;

export class RouteCounts {
  readonly #model: MeshModel;
  readonly #routes: MeshRoutes;
  readonly #onCount: (gateway: string) => void;
  /** Services (`namespace/host`) of each route, and routes of each service. */
  readonly #servicesOf = new OwnedNames();
  readonly #routesOf = new OwnedNames();
  readonly #changed = new Set<string>();
  readonly #told = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  /** `onCount`: another number of routes is attached to this Gateway. */
  constructor(model: MeshModel, routes: MeshRoutes, onCount: (gateway: string) => void) {
    this.#model = model;
    this.#routes = routes;
    this.#onCount = onCount;
  }

  of(gateway: string, listener: string): number {
    const facts = this.#model.waypoints.find(gateway);
    return facts !== undefined && hboneListener(facts)?.name === listener ? this.#count(gateway) : 0;
  }

  /** It may be accepted elsewhere, or is gone. */
  routeChanged(id: string): void {
    this.#changed.add(id);
    this.#wake();
  }

  /** Services may be behind other waypoints. */
  bindingChanged(): void {
    this.#wake();
  }

  #wake(): void {
    this.#timer ??= setTimeout(() => this.#settle(), SETTLE_MS).unref();
  }

  #settle(): void {
    this.#timer = undefined;
    for (const id of this.#changed) {
      const services = new Set(this.#routes.acceptedAt(id));
      for (const service of this.#servicesOf.replace(id, services)) this.#routesOf.remove(service, id);
      for (const service of services) this.#routesOf.add(service, id);
    }
    this.#changed.clear();
    for (const gateway of this.#model.gateways.keys()) {
      const count = this.#count(gateway);
      if ((this.#told.get(gateway) ?? 0) === count) continue;
      this.#told.set(gateway, count);
      this.#onCount(gateway);
    }
    for (const gateway of this.#told.keys())
      if (this.#model.gateways.get(gateway) === undefined) this.#told.delete(gateway);
  }

  #count(gateway: string): number {
    const routes = new Set<string>();
    for (const key of this.#model.bound.services(gateway)) for (const id of this.#routesOf.of(key)) routes.add(id);
    return routes.size;
  }
}
