/** The tables that hold each waypoint's program. */
import { L7_TYPE_URLS, type TypeUrl } from "#lib/xds/types.ts";
import type { MeshModel } from "../model/mesh-model.ts";
import { ResourceTable, type TableChange } from "../model/resource-table.ts";
import type { ProgramChange, ProgramSource, ProgramTables } from "./program-source.ts";

export class WaypointTables implements ProgramSource {
  readonly #model: Pick<MeshModel, "waypoints">;
  readonly #tables = new Map<string, ProgramTables>();

  constructor(model: Pick<MeshModel, "waypoints">) {
    this.#model = model;
  }

  /** Made when first asked for. */
  tables(gateway: string): ProgramTables | undefined {
    const found = this.#tables.get(gateway);
    if (this.#model.waypoints.find(gateway) === undefined) return undefined;
    if (found !== undefined) return found;
    const made = new Map(L7_TYPE_URLS.map((type) => [type, new ResourceTable(type, { versioned: true })]));
    this.#tables.set(gateway, made);
    return made;
  }

  /** What happened to all tables since the last call. */
  takeChange(): ProgramChange {
    const changes = new Map<string, ReadonlyMap<TypeUrl, TableChange>>();
    for (const [gateway, tables] of this.#tables) {
      const ofGateway = new Map<TypeUrl, TableChange>();
      for (const [type, table] of tables) {
        const change = table.takeChange();
        if (change.changed.size + change.removed.size > 0) ofGateway.set(type, change);
      }
      if (ofGateway.size > 0) changes.set(gateway, ofGateway);
      if (this.#model.waypoints.find(gateway) === undefined) this.#tables.delete(gateway);
    }
    return changes;
  }
}
