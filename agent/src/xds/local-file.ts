/**
 * Resources from a file instead of a control plane, for trying things out. YAML or JSON with two lists, in the JSON
 * form of the wire messages: `addresses` (istio.workload.Address) and `authorizations` (istio.security.Authorization).
 */
import { readFile } from "node:fs/promises";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from "#lib/xds/types.ts";
import { AuthorizationSchema } from "#proto/authorization_pb.ts";
import { AddressSchema } from "#proto/workload_pb.ts";
import { convertAuthorization } from "../policy/authorization.ts";
import { convertAddress } from "../state/decode.ts";
import type { MeshState } from "../state/mesh-state.ts";

/** Throws an Error naming the file and the entry that cannot be used. */
export async function loadLocalFile(path: string, state: MeshState): Promise<void> {
  // Only needed here: a parser of YAML is a megabyte that no ordinary agent has to hold.
  const { parse } = await import("yaml");
  const content = parse(await readFile(path, "utf8")) as { addresses?: JsonValue[]; authorizations?: JsonValue[] };
  for (const [index, entry] of (content.addresses ?? []).entries()) {
    at(path, `addresses[${index}]`, () => {
      const decoded = convertAddress(fromJson(AddressSchema, entry), state.interner);
      if (decoded.kind === "workload") state.setWorkload(decoded.workload);
      else state.setService(decoded.service);
    });
  }
  for (const [index, entry] of (content.authorizations ?? []).entries()) {
    at(path, `authorizations[${index}]`, () =>
      state.setPolicy(convertAuthorization(fromJson(AuthorizationSchema, entry))),
    );
  }
  state.markSynced(ADDRESS_TYPE);
  state.markSynced(AUTHORIZATION_TYPE);
  state.commit();
}

function at(path: string, entry: string, run: () => void): void {
  try {
    run();
  } catch (cause) {
    throw new Error(`${path}: ${entry}`, { cause });
  }
}
