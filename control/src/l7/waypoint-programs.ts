/** The programs of all waypoints that somebody has asked for. */
import type { TypeUrl } from "#lib/xds/types.ts";
import type { ModelChange } from "../model/mesh-model.ts";
import type { TableChange } from "../model/resource-table.ts";
import type { ProgramChange, ProgramSource, ProgramTables } from "../xds/program-source.ts";
import type { L7World } from "./l7-world.ts";
import { type WaypointBinding, WaypointProgram } from "./waypoint-program.ts";

export class WaypointPrograms implements ProgramSource {
  readonly #world: L7World;
  readonly #programs = new Map<string, WaypointProgram>();

  constructor(world: L7World) {
    this.#world = world;
  }

  /** Compiled when first asked for: a waypoint that is not there costs nothing. */
  tables(gateway: string): ProgramTables | undefined {
    const known = this.#programs.get(gateway);
    const waypoint = this.#world.model.waypoints.find(gateway);
    if (waypoint === undefined) return undefined;
    if (known !== undefined) return known.byType;
    const { namespace, name, className } = waypoint;
    const program = new WaypointProgram(
      this.#world,
      { namespace, name, gatewayClass: className },
      this.#bindingOf(gateway),
    );
    program.flush();
    this.#programs.set(gateway, program);
    return program.byType;
  }

  /** The model was flushed. */
  modelChanged(change: ModelChange): void {
    this.#world.modelChanged(change);
    for (const gateway of change.bound) this.#programs.get(gateway)?.bind(this.#bindingOf(gateway));
  }

  /** Derives what has changed since the last call. */
  takeChange(): ProgramChange {
    const changes = new Map<string, ReadonlyMap<TypeUrl, TableChange>>();
    for (const [gateway, program] of this.#programs) {
      if (this.#world.model.waypoints.find(gateway) === undefined) {
        program.close();
        this.#programs.delete(gateway);
        continue;
      }
      const change = program.flush();
      if (change.size > 0) changes.set(gateway, change);
    }
    return changes;
  }

  #bindingOf(gateway: string): WaypointBinding {
    const { bound } = this.#world.model;
    return { services: bound.services(gateway), workloads: bound.workloads(gateway) };
  }
}
