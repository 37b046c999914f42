/** A control plane that serves one synthetic mesh over delta ADS as ours serves a real one, and nothing else. */
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, DELTA_ADS_METHOD } from "#lib/xds/types.ts";
import { DeltaDiscoveryRequestSchema } from "#proto/discovery_pb.ts";
import type { GrpcCall } from "../../control/src/grpc/call.ts";
import { GrpcServer } from "../../control/src/grpc/server.ts";
import { GRPC_STATUS } from "../../control/src/grpc/status.ts";
import { ResourceTable } from "../../control/src/model/resource-table.ts";
import { EMPTY_BODY, encodeResponse } from "../../control/src/xds/responses.ts";
import { WholeTable } from "../../control/src/xds/whole-table.ts";
import { syntheticMesh } from "./synthetic-mesh.ts";

const MAX_REQUEST_BYTES = 1024 * 1024;

export interface SyntheticAds {
  readonly port: number;
  /** Resolves when the subscriber has acknowledged the mesh. */
  readonly loaded: Promise<void>;
  stop(): Promise<void>;
}

/** `chain` and `key` are PEM: the server's certificate. */
export async function serveSyntheticMesh(workloads: number, chain: string, key: string): Promise<SyntheticAds> {
  const { promise: loaded, resolve } = Promise.withResolvers<void>();
  const table = new ResourceTable(ADDRESS_TYPE, { versioned: true });
  for (const { name, bytes } of syntheticMesh(workloads)) table.set(name, bytes);
  const whole = new WholeTable(table);
  const server = new GrpcServer({
    context: { cert: chain, key },
    methods: new Map([[DELTA_ADS_METHOD, (call) => serve(call, whole, resolve)]]),
    maxRequestBytes: MAX_REQUEST_BYTES,
  });
  const port = await server.listen("127.0.0.1", 0);
  return { port, loaded, stop: () => server.close() };
}

function serve(call: GrpcCall, whole: WholeTable, onLoaded: () => void): void {
  call.read(DeltaDiscoveryRequestSchema, {
    message: ({ typeUrl, responseNonce }) => {
      const isFirst = responseNonce === "";
      if (typeUrl === ADDRESS_TYPE) {
        if (isFirst) call.write(encodeResponse(ADDRESS_TYPE, "1", "addresses", whole.body(), call.takesDeflate));
        else onLoaded();
      } else if (isFirst) {
        call.write(encodeResponse(AUTHORIZATION_TYPE, "1", "policies", EMPTY_BODY, call.takesDeflate));
      }
    },
    end: () => call.end(GRPC_STATUS.OK),
  });
}
