/** Where the programs of waypoints come from, and who may have which. */
import type { TypeUrl } from "#lib/xds/types.ts";
import type { CallerIdentity } from "../auth/token-authenticator.ts";
import { accountName, shortened } from "../model/gateway.ts";
import type { MeshModel } from "../model/mesh-model.ts";
import { keyOf } from "../model/meta.ts";
import type { ResourceTable, TableChange } from "../model/resource-table.ts";

/** The program of one Gateway, by type. */
export type ProgramTables = ReadonlyMap<TypeUrl, ResourceTable>;

/** What changed of the programs, by the Gateway's key and type. */
export type ProgramChange = ReadonlyMap<string, ReadonlyMap<TypeUrl, TableChange>>;

export interface ProgramSource {
  /** Undefined: there is no such Gateway. */
  loaded(gateway: string): Promise<ProgramTables | undefined>;
}

/** Told what waypoints say of their programs. */
export interface ProgramListener {
  answered(answer: ProgramAnswer): void;
  /** A pod's stream has ended. */
  gone(gateway: string, client: string): void;
}

/** A waypoint's word on resources that it was sent. */
export interface ProgramAnswer {
  readonly gateway: string;
  /** The pod. */
  readonly client: string;
  readonly type: TypeUrl;
  readonly names: readonly string[];
  /** `name: reason` of each that was refused, with "; " between; undefined: all were taken. */
  readonly error: string | undefined;
}

/**
 * The Gateway whose program a caller gets: one of its own namespace that runs as the caller's account. Where several do,
 * `label` (the pod's own word) says which.
 */
export function gatewayOfCaller(model: MeshModel, caller: CallerIdentity, label: string): string | undefined {
  const own = [...model.gateways.inNamespace(caller.namespace)].filter(
    (gateway) => model.waypoints.find(keyOf(gateway)) !== undefined && accountName(gateway) === caller.serviceAccount,
  );
  const named = label === "" ? own : own.filter(({ name }) => shortened(name) === label);
  return named.length === 1 && named[0] !== undefined ? keyOf(named[0]) : undefined;
}
