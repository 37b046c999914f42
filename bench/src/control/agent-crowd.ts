/**
 * Many node agents in one process of their own: a TLS connection and a stream of gRPC each. Of the first answer they read
 * no more than an acknowledgement needs, since what 500 agents would do with it is not to be in the control plane's figures; one
 * of them reads and counts everything.
 */
import { once } from "node:events";
import http2 from "node:http2";
import { createSecureContext } from "node:tls";
import { constants, inflateSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
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

const PREFIX_BYTES = 5;
/** Bytes of an answer that surely hold its head, deflated. */
const HEAD_BYTES = 512;
/** Field numbers of DeltaDiscoveryResponse. */
const TYPE_URL = 4;
const NONCE = 5;
/** It reads all of its answers. */
const CAREFUL_AGENT = 0;

class Crowd {
  readonly #order: CrowdOrder;
  readonly #context: ReturnType<typeof createSecureContext>;
  #loaded = 0;
  #marker: Buffer | undefined;
  readonly #heard = new Set<number>();

  constructor(order: CrowdOrder) {
    this.#order = order;
    this.#context = createSecureContext({ ca: order.roots, minVersion: "TLSv1.3" });
  }

  await(marker: string): void {
    this.#marker = Buffer.from(marker);
    this.#heard.clear();
    tell("awaiting");
  }

  async connect(index: number): Promise<void> {
    const session = http2.connect(`https://localhost:${this.#order.port}`, {
      secureContext: this.#context,
      servername: "istiod.istio-system.svc",
    });
    const stream = session.request({
      ":method": "POST",
      ":path": DELTA_ADS_METHOD,
      "content-type": "application/grpc+proto",
      te: "trailers",
      "grpc-accept-encoding": "identity,deflate,gzip",
      authorization: `Bearer ${BenchCluster.token(index)}`,
      clusterid: "Kubernetes",
    });
    const messages = new Messages();
    let loaded = false;
    stream.on("data", (bytes: Buffer) => {
      for (const message of messages.push(bytes)) {
        const whole = loaded || index === CAREFUL_AGENT ? wholeOf(message) : undefined;
        const { typeUrl, nonce } = whole === undefined ? beginningOf(message) : readHead(whole);
        stream.write(framed({ typeUrl, responseNonce: nonce }));
        if (typeUrl === ADDRESS_TYPE && !loaded) {
          loaded = true;
          this.#onLoaded(whole);
        }
        if (this.#marker !== undefined && whole?.includes(this.#marker)) this.#onHeard(index);
      }
    });
    const podName = `weft-agent-${index}`;
    const namespace = "istio-system";
    const node = {
      $typeName: "envoy.service.discovery.v3.Node" as const,
      id: formatNodeId({ type: "ztunnel", ip: "1.1.1.1", podName, namespace }),
      cluster: "",
      metadata: { NAME: podName, NAMESPACE: namespace, NODE_NAME: `node-${index}` },
    };
    for (const typeUrl of [ADDRESS_TYPE, AUTHORIZATION_TYPE]) stream.write(framed({ typeUrl, node }));
    await once(stream, "end");
    throw new Error(`the control plane ended the stream of agent ${index}`);
  }

  /** The first answer is everything; `answer` when it was read. */
  #onLoaded(answer: Buffer | undefined): void {
    const { agents, resources } = this.#order;
    const count = answer && readHead(answer).resourceCount;
    if (count !== undefined && count !== resources) throw new Error(`${count} resources instead of ${resources}`);
    if (++this.#loaded === agents) tell("loaded");
  }

  #onHeard(agent: number): void {
    this.#heard.add(agent);
    if (this.#heard.size < this.#order.agents) return;
    this.#marker = undefined;
    tell("heard");
  }
}

interface Message {
  readonly deflated: boolean;
  readonly bytes: Buffer;
}

/** Cuts a stream into messages. */
class Messages {
  #chunks: Buffer[] = [];
  #bytes = 0;

  push(chunk: Buffer): Message[] {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    const messages: Message[] = [];
    while (this.#bytes >= PREFIX_BYTES) {
      const first = this.#chunks[0] as Buffer;
      const prefix = first.length >= PREFIX_BYTES ? first : Buffer.concat(this.#chunks, this.#bytes);
      const end = PREFIX_BYTES + prefix.readUInt32BE(1);
      if (this.#bytes < end) break;
      const all = Buffer.concat(this.#chunks, this.#bytes);
      messages.push({ deflated: all.readUInt8(0) === 1, bytes: all.subarray(PREFIX_BYTES, end) });
      this.#chunks = all.length > end ? [all.subarray(end)] : [];
      this.#bytes -= end;
    }
    return messages;
  }
}

function wholeOf({ deflated, bytes }: Message): Buffer {
  return deflated ? inflateSync(bytes) : bytes;
}

/** What an acknowledgement needs, without undoing more of the message than must be. */
function beginningOf({ deflated, bytes }: Message): { readonly typeUrl: string; readonly nonce: string } {
  const beginning = bytes.subarray(0, HEAD_BYTES);
  const options = { finishFlush: constants.Z_SYNC_FLUSH };
  const reader = new BinaryReader(deflated ? inflateSync(beginning, options) : beginning);
  let typeUrl = "";
  let nonce = "";
  while (typeUrl === "" || nonce === "") {
    const [field, wire] = reader.tag();
    if (field === TYPE_URL) typeUrl = reader.string();
    else if (field === NONCE) nonce = reader.string();
    else reader.skip(wire, field);
  }
  return { typeUrl, nonce };
}

function tell(kind: CrowdEvent["kind"]): void {
  process.send?.({ kind, at: performance.timeOrigin + performance.now() } satisfies CrowdEvent);
}

function framed(init: Parameters<typeof create<typeof DeltaDiscoveryRequestSchema>>[1]): Buffer {
  const message = toBinary(DeltaDiscoveryRequestSchema, create(DeltaDiscoveryRequestSchema, init));
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

function fail(error: unknown): never {
  process.stderr.write(`an agent of the bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}

process.once("message", (order: CrowdOrder) => {
  const crowd = new Crowd(order);
  for (let index = 0; index < order.agents; index++) void crowd.connect(index).catch(fail);
  process.on("message", ({ marker }: Await) => crowd.await(marker));
});
process.on("uncaughtException", fail);
process.once("disconnect", () => process.exit(0));
