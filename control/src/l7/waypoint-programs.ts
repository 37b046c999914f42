/** The programs of all waypoints that somebody has asked for. */

import type { TypeUrl } from "#lib/xds/types.ts";
import type { ProgramOrigins } from "../gateway/refusal-remarks.ts";
import type { ModelChange } from "../model/mesh-model.ts";
import type { TableChange } from "../model/resource-table.ts";
import type { ProgramChange, ProgramSource, ProgramTables } from "../xds/program-source.ts";
import type { L7World } from "./l7-world.ts";
import { Lingering } from "./lingering.ts";
import { WaypointProgram } from "./waypoint-program.ts";

/**
 * How long a waypoint still serves what is bound to it no more: agents hear of it at the same moment, and what they have
 * sent before must not be refused.
 */
const LINGER_MS = 2_000;
/** How long a waypoint waits for its program while certificates of it are being read. */
const LOAD_MS = 5_000;

const NO_ORIGINS: ProgramOrigins = {
  ofCluster: () => [],
  ofDestination: () => [],
  ofRouteGroup: () => [],
  ofTelemetry: () => [],
  ofLimits: () => [],
};

interface Running {
  readonly program: WaypointProgram;
  readonly services: Lingering;
  readonly workloads: Lingering;
}

export class WaypointPrograms implements ProgramSource {
  readonly #world: L7World;
  readonly #programs = new Map<string, Running>();
  readonly #onDirty: () => void;
  readonly #credentialsSettled: () => Promise<void>;

  /** `onDirty` is called when `takeChange` has something to give that no change of the model brings. */
  constructor(world: L7World, onDirty: () => void, credentialsSettled: () => Promise<void> = async () => {}) {
    this.#world = world;
    this.#onDirty = onDirty;
    this.#credentialsSettled = credentialsSettled;
  }

  /**
   * As `tables`, with all that is known of the certificates in it: a waypoint that comes back must not be told to do
   * without them while they are being read.
   */
  async loaded(gateway: string): Promise<ProgramTables | undefined> {
    if (this.tables(gateway) === undefined) return undefined;
    await Promise.race([this.#credentialsSettled(), new Promise((resolve) => setTimeout(resolve, LOAD_MS).unref())]);
    // For whom nothing has changed since, nothing is done; others are told of it as of any change.
    this.#programs.get(gateway)?.program.derive();
    return this.tables(gateway);
  }

  /** Compiled when first asked for: a waypoint that is not there costs nothing. */
  tables(gateway: string): ProgramTables | undefined {
    const known = this.#programs.get(gateway);
    const waypoint = this.#world.model.waypoints.find(gateway);
    if (waypoint === undefined) return undefined;
    if (known !== undefined) return known.program.byType;
    const { namespace, name, className } = waypoint;
    const { bound } = this.#world.model;
    const binding = { services: bound.services(gateway), workloads: bound.workloads(gateway) };
    const program = new WaypointProgram(this.#world, { namespace, name, gatewayClass: className }, binding);
    program.flush();
    const running = { program, services: new Lingering(LINGER_MS), workloads: new Lingering(LINGER_MS) };
    this.#programs.set(gateway, running);
    this.#rebind(gateway, running);
    return program.byType;
  }

  /** What parts of a running program are made of. */
  origins(gateway: string): ProgramOrigins {
    return this.#programs.get(gateway)?.program.origins ?? NO_ORIGINS;
  }

  /** The model was flushed. */
  modelChanged(change: ModelChange): void {
    this.#world.modelChanged(change);
    for (const gateway of change.bound) {
      const running = this.#programs.get(gateway);
      if (running === undefined) continue;
      this.#rebind(gateway, running);
      if (running.services.waits || running.workloads.waits) setTimeout(this.#onDirty, LINGER_MS + 1).unref();
    }
  }

  /** Derives what has changed since the last call. */
  takeChange(): ProgramChange {
    const changes = new Map<string, ReadonlyMap<TypeUrl, TableChange>>();
    for (const [gateway, running] of this.#programs) {
      const { program } = running;
      if (this.#world.model.waypoints.find(gateway) === undefined) {
        program.close();
        this.#programs.delete(gateway);
        continue;
      }
      if (running.services.waits || running.workloads.waits) this.#rebind(gateway, running);
      const change = program.flush();
      if (change.size > 0) changes.set(gateway, change);
    }
    return changes;
  }

  #rebind(gateway: string, { program, services, workloads }: Running): void {
    const { bound } = this.#world.model;
    services.set(bound.services(gateway));
    workloads.set(bound.workloads(gateway));
    program.bind({ services: services.members(), workloads: workloads.members() });
  }
}
