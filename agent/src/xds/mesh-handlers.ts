/** Puts WDS resources into the mesh state. */
import type { ResourceHandler } from "#lib/xds/ads-client.ts";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from "#lib/xds/types.ts";
import { decodeAuthorization } from "../policy/authorization.ts";
import { decodeAddress } from "../state/decode.ts";
import type { MeshState } from "../state/mesh-state.ts";

/** In the order in which a client subscribes. */
export function meshHandlers(state: MeshState): ReadonlyMap<string, ResourceHandler> {
  const commit = () => {
    state.commit();
    return undefined;
  };
  return new Map([
    [
      ADDRESS_TYPE,
      {
        apply: (_name: string, bytes: Uint8Array) => {
          const decoded = decodeAddress(bytes, state.interner);
          if (decoded.kind === "workload") state.setWorkload(decoded.workload);
          else state.setService(decoded.service);
        },
        remove: (name: string) => state.removeAddress(name),
        commit,
      },
    ],
    [
      AUTHORIZATION_TYPE,
      {
        apply: (_name: string, bytes: Uint8Array) => state.setPolicy(decodeAuthorization(bytes)),
        remove: (name: string) => state.removePolicy(name),
        commit,
      },
    ],
  ]);
}
