/** A control plane for tests of the agent: delta ADS and certificates over TLS, with everything decided by the test. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
  status,
} from "@grpc/grpc-js";
import {
  ADDRESS_TYPE,
  AUTHORIZATION_TYPE,
  CREATE_CERTIFICATE_METHOD,
  DELTA_ADS_METHOD,
  L7_TYPE_URLS,
  type TypeUrl,
} from "#lib/xds/types.ts";
import { type Authorization, AuthorizationSchema } from "#proto/authorization_pb.ts";
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from "#proto/ca_pb.ts";
import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
  ResourceSchema,
} from "#proto/discovery_pb.ts";
import { type Address, AddressSchema } from "#proto/workload_pb.ts";
import type { IssueOptions, TestCa } from "./pki.ts";

type Stream = ServerDuplexStream<DeltaDiscoveryRequest, Uint8Array>;

interface Resource {
  readonly version: string;
  readonly bytes: Uint8Array;
}

export class FakeControl {
  readonly ca: TestCa;
  /** Every ADS request, oldest first. */
  readonly requests: DeltaDiscoveryRequest[] = [];
  /** Metadata of every stream and call. */
  readonly metadata: Metadata[] = [];
  /** Identities asked for, oldest first. */
  readonly certificates: string[] = [];
  /** How certificates are made; a test may replace it. */
  issueOptions: IssueOptions = {};
  /** Refuses certificates while set. */
  refuse: string | undefined;
  port = 0;
  readonly #resources = new Map<string, Map<string, Resource>>([
    [ADDRESS_TYPE, new Map()],
    [AUTHORIZATION_TYPE, new Map()],
    ...L7_TYPE_URLS.map((type): [TypeUrl, Map<string, Resource>] => [type, new Map()]),
  ]);
  readonly #streams = new Set<Stream>();
  #server: Server | undefined;
  #nonce = 0;
  /** Responses are held back while true: the control plane is slow. */
  #held = false;

  constructor(ca: TestCa) {
    this.ca = ca;
  }

  static async start(ca: TestCa): Promise<FakeControl> {
    const fake = new FakeControl(ca);
    await fake.listen();
    return fake;
  }

  get address(): string {
    return `https://localhost:${this.port}`;
  }

  /** Also after `stop`: the same port again, with what was set before. */
  async listen(): Promise<void> {
    const { chain, key } = await this.ca.issue("", { uris: [], dnsNames: ["localhost"] });
    const server = new Server({ "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 });
    const raw = { requestDeserialize: (bytes: Buffer) => bytes, responseSerialize: Buffer.from };
    server.addService(
      {
        ads: {
          path: DELTA_ADS_METHOD,
          requestStream: true,
          responseStream: true,
          requestSerialize: Buffer.from,
          responseDeserialize: (bytes: Buffer) => bytes,
          ...raw,
          requestDeserialize: (bytes: Buffer) => fromBinary(DeltaDiscoveryRequestSchema, bytes),
        },
        ca: {
          path: CREATE_CERTIFICATE_METHOD,
          requestStream: false,
          responseStream: false,
          requestSerialize: Buffer.from,
          responseDeserialize: (bytes: Buffer) => bytes,
          ...raw,
        },
      },
      {
        ads: (stream: Stream) => this.#serve(stream),
        ca: (call: ServerUnaryCall<Buffer, Uint8Array>, answer: sendUnaryData<Uint8Array>) => {
          void this.#sign(call, answer);
        },
      },
    );
    const pair = { cert_chain: Buffer.from(chain), private_key: Buffer.from(key) };
    this.port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`[::]:${this.port}`, ServerCredentials.createSsl(null, [pair]), (error, port) =>
        error === null ? resolve(port) : reject(error),
      );
    });
    this.#server = server;
  }

  /** Cuts all streams and refuses new ones. */
  stop(): void {
    this.#server?.forceShutdown();
    this.#server = undefined;
    this.#streams.clear();
  }

  get streams(): number {
    return this.#streams.size;
  }

  setAddress(name: string, address: Address, version = String(++this.#nonce)): void {
    this.setRaw(ADDRESS_TYPE, name, toBinary(AddressSchema, address), version);
  }

  setAuthorization(policy: Authorization): void {
    const name = `${policy.namespace}/${policy.name}`;
    this.setRaw(AUTHORIZATION_TYPE, name, toBinary(AuthorizationSchema, policy), "");
  }

  /** Any bytes, also such that no client can use. */
  setRaw(type: TypeUrl, name: string, bytes: Uint8Array, version = String(++this.#nonce)): void {
    this.#resources.get(type)?.set(name, { bytes, version });
    this.#push(type, [name], []);
  }

  remove(type: TypeUrl, name: string): void {
    this.#resources.get(type)?.delete(name);
    this.#push(type, [], [name]);
  }

  /** Nothing is answered until `resume`. */
  hold(): void {
    this.#held = true;
  }

  resume(): void {
    this.#held = false;
    for (const type of this.#resources.keys()) {
      this.#push(type as TypeUrl, [...(this.#resources.get(type)?.keys() ?? [])], []);
    }
  }

  #serve(stream: Stream): void {
    this.metadata.push(stream.metadata);
    this.#streams.add(stream);
    stream.on("data", (request: DeltaDiscoveryRequest) => {
      this.requests.push(request);
      if (request.responseNonce !== "") return;
      const known = this.#resources.get(request.typeUrl) ?? new Map<string, Resource>();
      const retained = request.initialResourceVersions;
      const changed = [...known].filter(([name, { version }]) => version === "" || retained[name] !== version);
      const removed = Object.keys(retained).filter((name) => !known.has(name));
      this.#send(
        stream,
        request.typeUrl,
        changed.map(([name]) => name),
        removed,
      );
    });
    const gone = () => this.#streams.delete(stream);
    stream.on("end", () => {
      gone();
      stream.end();
    });
    stream.on("close", gone);
    stream.on("error", gone);
    stream.on("cancelled", gone);
  }

  #push(type: TypeUrl, names: readonly string[], removed: readonly string[]): void {
    for (const stream of this.#streams) this.#send(stream, type, names, removed);
  }

  #send(stream: Stream, typeUrl: string, names: readonly string[], removed: readonly string[]): void {
    if (this.#held) return;
    const known = this.#resources.get(typeUrl);
    const resources = names.flatMap((name) => {
      const resource = known?.get(name);
      return resource === undefined
        ? []
        : [
            create(ResourceSchema, {
              name,
              version: resource.version,
              resource: { typeUrl, value: resource.bytes },
            }),
          ];
    });
    const response = create(DeltaDiscoveryResponseSchema, {
      typeUrl,
      nonce: String(++this.#nonce),
      resources,
      removedResources: [...removed],
    });
    stream.write(toBinary(DeltaDiscoveryResponseSchema, response));
  }

  async #sign(call: ServerUnaryCall<Buffer, Uint8Array>, answer: sendUnaryData<Uint8Array>): Promise<void> {
    this.metadata.push(call.metadata);
    const request = fromBinary(IstioCertificateRequestSchema, call.request);
    const identity = String(request.metadata?.ImpersonatedIdentity ?? "");
    this.certificates.push(identity);
    if (this.refuse !== undefined) {
      answer({ code: status.UNAUTHENTICATED, details: this.refuse });
      return;
    }
    const certChain = await this.ca.answerRequest(request.csr, identity, this.issueOptions);
    answer(null, toBinary(IstioCertificateResponseSchema, create(IstioCertificateResponseSchema, { certChain })));
  }
}
