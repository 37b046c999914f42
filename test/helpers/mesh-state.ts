/** Mesh states of the agent, filled from the fixtures. */

import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from "#lib/xds/types.ts";
import type { Address } from "#proto/workload_pb.ts";
import { convertAddress } from "../../agent/src/state/decode.ts";
import { MeshState } from "../../agent/src/state/mesh-state.ts";

/** Synced, of node `node-1`. */
export function meshState(...addresses: readonly Address[]): MeshState {
  const state = new MeshState({ nodeName: "node-1", clusterId: "Kubernetes" });
  for (const address of addresses) put(state, address);
  state.markSynced(ADDRESS_TYPE);
  state.markSynced(AUTHORIZATION_TYPE);
  state.commit();
  return state;
}

/** Without a commit. */
export function put(state: MeshState, address: Address): void {
  const decoded = convertAddress(address, state.interner);
  if (decoded.kind === "workload") state.setWorkload(decoded.workload);
  else state.setService(decoded.service);
}
