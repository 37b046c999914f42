/** Many agents in one process, for scale.ts: tells its parent when all are loaded, and when all have got a change. */

import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import * as grpc from "@grpc/grpc-js";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, DELTA_ADS_METHOD, formatNodeId } from "#lib/xds/types.ts";
import { type DeltaDiscoveryRequest, DeltaDiscoveryRequestSchema } from "#proto/discovery_pb.ts";

const [port = 0, agents = 0, workloads = 0] = process.argv.slice(2).map(Number);
const NAMESPACE = "istio-system";
let bytes = 0;
let loaded = 0;
let changed = 0;

for (let i = 0; i < agents; i++) start(i);

function start(index: number): void {
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
    "grpc.use_local_subchannel_pool": 1,
  });
  const metadata = new grpc.Metadata();
  metadata.set("authorization", "Bearer t");
  const stream = client.makeBidiStreamRequest<DeltaDiscoveryRequest, Buffer>(
    DELTA_ADS_METHOD,
    (message) => Buffer.from(toBinary(DeltaDiscoveryRequestSchema, message)),
    (buffer) => buffer,
    metadata,
  );
  const send = (request: object) => stream.write(create(DeltaDiscoveryRequestSchema, request));
  const podName = `weft-agent-${index}`;
  const node = {
    id: formatNodeId({ type: "ztunnel", ip: "1.1.1.1", podName, namespace: NAMESPACE }),
    metadata: { NAMESPACE, NODE_NAME: `node-${index}` },
  };
  send({ typeUrl: ADDRESS_TYPE, node });
  send({ typeUrl: AUTHORIZATION_TYPE, node });
  let known = 0;
  let complete = false;
  stream.on("data", (message: Buffer) => {
    bytes += message.length;
    const { typeUrl, nonce, resources } = read(message);
    send({ typeUrl, responseNonce: nonce });
    if (typeUrl !== ADDRESS_TYPE) return;
    if (complete) {
      if (++changed % agents === 0) process.send?.({});
      return;
    }
    known += resources;
    if (known < workloads) return;
    complete = true;
    if (++loaded === agents) process.send?.({ bytes });
  });
  stream.on("error", (error) => {
    throw error;
  });
}

/** Counts the resources without decoding them: 500 agents in one process must not be slower than 500 machines. */
function read(message: Buffer): { typeUrl: string; nonce: string; resources: number } {
  const reader = new BinaryReader(message);
  const result = { typeUrl: "", nonce: "", resources: 0 };
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 4) result.typeUrl = reader.string();
    else if (field === 5) result.nonce = reader.string();
    else {
      if (field === 2 && wireType === WireType.LengthDelimited) result.resources++;
      reader.skip(wireType, field);
    }
  }
  return result;
}
