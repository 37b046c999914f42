/** A control plane that serves one synthetic mesh over delta ADS, and nothing else. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import { ADDRESS_TYPE, DELTA_ADS_METHOD } from "#lib/xds/types.ts";
import { DeltaDiscoveryRequestSchema, DeltaDiscoveryResponseSchema } from "#proto/discovery_pb.ts";
import { type NamedResource, syntheticMesh } from "./synthetic-mesh.ts";

/** Resources per response, as a control plane that cares for its subscribers' memory would send them. */
const RESOURCES_PER_RESPONSE = 5_000;

type AdsStream = ServerDuplexStream<Buffer, Uint8Array>;

export interface SyntheticAds {
  readonly port: number;
  /** Resolves when the subscriber has acknowledged the last response. */
  readonly loaded: Promise<void>;
  stop(): void;
}

/** `chain` and `key` are PEM: the server's certificate. */
export async function serveSyntheticMesh(workloads: number, chain: string, key: string): Promise<SyntheticAds> {
  const server = new Server();
  const { promise: loaded, resolve } = Promise.withResolvers<void>();
  const identity = { serialize: (bytes: Uint8Array) => Buffer.from(bytes), deserialize: (bytes: Buffer) => bytes };
  server.addService(
    {
      deltaAggregatedResources: {
        path: DELTA_ADS_METHOD,
        requestStream: true,
        responseStream: true,
        requestSerialize: identity.serialize,
        requestDeserialize: identity.deserialize,
        responseSerialize: identity.serialize,
        responseDeserialize: identity.deserialize,
      },
    },
    { deltaAggregatedResources: (stream: AdsStream) => serve(stream, workloads, resolve) },
  );
  const credentials = ServerCredentials.createSsl(null, [
    { cert_chain: Buffer.from(chain), private_key: Buffer.from(key) },
  ]);
  const port = await new Promise<number>((done, fail) => {
    server.bindAsync("127.0.0.1:0", credentials, (error, bound) => (error === null ? done(bound) : fail(error)));
  });
  return { port, loaded, stop: () => server.forceShutdown() };
}

/** The next response goes out when the one before was acknowledged. */
function serve(stream: AdsStream, workloads: number, onLoaded: () => void): void {
  const chunks = responses(workloads);
  let sent = 0;
  const sendNext = (): void => {
    const { value } = chunks.next();
    if (value === undefined) onLoaded();
    else stream.write(response(ADDRESS_TYPE, `address-${sent++}`, value));
  };
  stream.on("data", (bytes: Buffer) => {
    const request = fromBinary(DeltaDiscoveryRequestSchema, bytes);
    if (request.typeUrl === ADDRESS_TYPE) sendNext();
    else if (request.responseNonce === "") stream.write(response(request.typeUrl, "policies", []));
  });
  stream.on("end", () => stream.end());
  // The subscriber is killed in the end.
  stream.on("error", () => {});
}

function* responses(workloads: number): Generator<NamedResource[]> {
  let chunk: NamedResource[] = [];
  for (const resource of syntheticMesh(workloads)) {
    chunk.push(resource);
    if (chunk.length < RESOURCES_PER_RESPONSE) continue;
    yield chunk;
    chunk = [];
  }
  yield chunk;
}

function response(typeUrl: string, nonce: string, resources: readonly NamedResource[]): Uint8Array {
  return toBinary(
    DeltaDiscoveryResponseSchema,
    create(DeltaDiscoveryResponseSchema, {
      typeUrl,
      nonce,
      resources: resources.map(({ name, bytes }) => ({ name, version: "1", resource: { typeUrl, value: bytes } })),
    }),
  );
}
