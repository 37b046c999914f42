/** Many node agents in one process of their own: gRPC with TLS, a connection each, answers read no further than needed. */
import { create, toBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { readHead } from "#lib/xds/response.ts";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, DELTA_ADS_METHOD, formatNodeId } from "#lib/xds/types.ts";
import { DeltaDiscoveryRequestSchema } from "#proto/discovery_pb.ts";
import { BenchCluster } from "./cluster.ts";

export interface CrowdOrder {
  readonly port: number;
  readonly roots: string;
  readonly agents: number;
  /** Resources that an agent has when it has everything. */
  readonly resources: number;
}

/** To the bench. Times are those of the machine's clock, in milliseconds. */
export type CrowdEvent =
  | { readonly kind: "loaded"; readonly at: number }
  /** From now on agents look for what is awaited. */
  | { readonly kind: "awaiting"; readonly at: number }
  /** Every agent has had the change that was awaited. */
  | { readonly kind: "heard"; readonly at: number };

/** From the bench: tell when every agent has had a response that holds these bytes, from now on. */
export interface Await {
  readonly kind: "await";
  readonly marker: string;
}

const serialize = (bytes: Uint8Array): Buffer => Buffer.from(bytes);
const deserialize = (bytes: Buffer): Buffer => bytes;

class Crowd {
  readonly #agents: number;
  readonly #resources: number;
  readonly #credentials: grpc.ChannelCredentials;
  #loaded = 0;
  #marker: Buffer | undefined;
  readonly #heard = new Set<number>();

  constructor({ agents, resources, roots }: CrowdOrder) {
    this.#agents = agents;
    this.#resources = resources;
    this.#credentials = grpc.credentials.createSsl(Buffer.from(roots));
  }

  await(marker: string): void {
    this.#marker = Buffer.from(marker);
    this.#heard.clear();
    tell("awaiting");
  }

  connect(index: number, { port }: CrowdOrder): void {
    const client = new grpc.Client(`localhost:${port}`, this.#credentials, {
      "grpc.ssl_target_name_override": "istiod.istio-system.svc",
      "grpc.max_receive_message_length": -1,
      "grpc.use_local_subchannel_pool": 1,
    });
    const metadata = new grpc.Metadata();
    metadata.set("authorization", `Bearer ${BenchCluster.token(index)}`);
    metadata.set("clusterid", "Kubernetes");
    const stream = client.makeBidiStreamRequest(DELTA_ADS_METHOD, serialize, deserialize, metadata);
    let received = 0;
    stream.on("data", (bytes: Buffer) => {
      const { typeUrl, nonce, resourceCount } = readHead(bytes);
      stream.write(request({ typeUrl, responseNonce: nonce }));
      const before = received;
      if (typeUrl === ADDRESS_TYPE) received += resourceCount;
      if (before < this.#resources && received >= this.#resources) this.#onLoaded();
      if (this.#marker !== undefined && bytes.includes(this.#marker)) this.#onHeard(index);
    });
    stream.on("error", (error) => {
      process.stderr.write(`agent ${index}: ${error.message}\n`);
      process.exit(1);
    });
    const podName = `weft-agent-${index}`;
    const namespace = "istio-system";
    const node = {
      $typeName: "envoy.service.discovery.v3.Node" as const,
      id: formatNodeId({ type: "ztunnel", ip: "1.1.1.1", podName, namespace }),
      cluster: "",
      metadata: { NAME: podName, NAMESPACE: namespace, NODE_NAME: `node-${index}` },
    };
    for (const typeUrl of [ADDRESS_TYPE, AUTHORIZATION_TYPE]) stream.write(request({ typeUrl, node }));
  }

  #onLoaded(): void {
    if (++this.#loaded === this.#agents) tell("loaded");
  }

  #onHeard(agent: number): void {
    this.#heard.add(agent);
    if (this.#heard.size < this.#agents) return;
    this.#marker = undefined;
    tell("heard");
  }
}

function tell(kind: CrowdEvent["kind"]): void {
  process.send?.({ kind, at: performance.timeOrigin + performance.now() } satisfies CrowdEvent);
}

function request(init: Parameters<typeof create<typeof DeltaDiscoveryRequestSchema>>[1]): Uint8Array {
  return toBinary(DeltaDiscoveryRequestSchema, create(DeltaDiscoveryRequestSchema, init));
}

process.once("message", (order: CrowdOrder) => {
  const crowd = new Crowd(order);
  for (let index = 0; index < order.agents; index++) crowd.connect(index, order);
  process.on("message", ({ marker }: Await) => crowd.await(marker));
});
process.once("disconnect", () => process.exit(0));
