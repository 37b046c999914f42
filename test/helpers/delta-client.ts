/**
 * A delta ADS and certificate client that behaves as a node proxy does, made of nothing but gRPC: first requests with
 * node, acknowledgements with type and nonce only, retained versions after a reconnect.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { eventually } from "#lib/eventually.ts";
import { CREATE_CERTIFICATE_METHOD, DELTA_ADS_METHOD, formatNodeId } from "#lib/xds/types.ts";
import { type Authorization, AuthorizationSchema } from "#proto/authorization_pb.ts";
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from "#proto/ca_pb.ts";
import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
  DeltaDiscoveryResponseSchema,
} from "#proto/discovery_pb.ts";
import { type Address, AddressSchema } from "#proto/workload_pb.ts";

export interface DeltaClientOptions {
  readonly port: number;
  /** PEM of the roots to trust. */
  readonly roots: string;
  readonly token?: string;
  readonly clusterId?: string;
  readonly node?: string;
  /** What the client is; a node's proxy unless said otherwise. */
  readonly type?: string;
  readonly podName?: string;
  readonly namespace?: string;
  /** More of `Node.metadata`. */
  readonly metadata?: Record<string, string | Record<string, string>>;
  /** The name that the server's certificate must carry. */
  readonly serverName?: string;
}

type InitFor = Partial<
  Pick<DeltaDiscoveryRequest, "resourceNamesSubscribe" | "resourceNamesUnsubscribe" | "initialResourceVersions">
>;

export class DeltaClient {
  readonly #options: DeltaClientOptions;
  readonly #client: grpc.Client;
  #stream: grpc.ClientDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse> | undefined;
  /** Every response, in order. */
  readonly responses: DeltaDiscoveryResponse[] = [];
  /** What the responses add up to: type to name to resource. */
  readonly resources = new Map<string, Map<string, { version: string; value: Uint8Array }>>();
  /** Set when the stream ended, with its status. */
  ended: { code: number; details: string } | undefined;
  /** Says why a response is to be refused; undefined to acknowledge it. */
  judge: (response: DeltaDiscoveryResponse) => string | undefined = () => undefined;
  /** While false, responses are not read. */
  #paused = false;

  constructor(options: DeltaClientOptions) {
    this.#options = options;
    this.#client = new grpc.Client(
      `localhost:${options.port}`,
      grpc.credentials.createSsl(Buffer.from(options.roots)),
      {
        "grpc.ssl_target_name_override": options.serverName ?? "istiod.istio-system.svc",
        "grpc.max_receive_message_length": 200 * 1024 * 1024,
        // Each client its own connection, as each node has.
        "grpc.use_local_subchannel_pool": 1,
      },
    );
  }

  open(): this {
    const stream = this.#client.makeBidiStreamRequest<DeltaDiscoveryRequest, DeltaDiscoveryResponse>(
      DELTA_ADS_METHOD,
      (message) => Buffer.from(toBinary(DeltaDiscoveryRequestSchema, message)),
      (bytes) => fromBinary(DeltaDiscoveryResponseSchema, bytes),
      this.#metadata(),
    );
    this.#stream = stream;
    this.ended = undefined;
    stream.on("data", (response: DeltaDiscoveryResponse) => this.#receive(response));
    stream.on("error", () => {});
    stream.on("status", ({ code, details }) => {
      this.ended = { code, details };
    });
    if (this.#paused) stream.pause();
    return this;
  }

  /** The first request of a type. */
  subscribe(typeUrl: string, init: InitFor = {}): this {
    const {
      type = "ztunnel",
      node = "node-1",
      podName = "weft-agent-1",
      namespace = "istio-system",
      metadata,
    } = this.#options;
    return this.send({
      typeUrl,
      node: {
        $typeName: "envoy.service.discovery.v3.Node",
        id: formatNodeId({ type, ip: "1.1.1.1", podName, namespace }),
        cluster: "",
        metadata: { NAME: podName, NAMESPACE: namespace, INSTANCE_IPS: "1.1.1.1", NODE_NAME: node, ...metadata },
      },
      ...init,
    });
  }

  send(request: Partial<Omit<DeltaDiscoveryRequest, "$typeName">>): this {
    this.#stream?.write(create(DeltaDiscoveryRequestSchema, request as never));
    return this;
  }

  pause(): void {
    this.#paused = true;
    this.#stream?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#stream?.resume();
  }

  names(typeUrl: string): string[] {
    return [...(this.resources.get(typeUrl)?.keys() ?? [])].sort();
  }

  versions(typeUrl: string): Record<string, string> {
    return Object.fromEntries([...(this.resources.get(typeUrl) ?? [])].map(([name, { version }]) => [name, version]));
  }

  address(name: string): Address | undefined {
    const found = this.resources.get("type.googleapis.com/istio.workload.Address")?.get(name);
    return found && fromBinary(AddressSchema, found.value);
  }

  authorization(name: string): Authorization | undefined {
    const found = this.resources.get("type.googleapis.com/istio.security.Authorization")?.get(name);
    return found && fromBinary(AuthorizationSchema, found.value);
  }

  responsesOf(typeUrl: string): DeltaDiscoveryResponse[] {
    return this.responses.filter((response) => response.typeUrl === typeUrl);
  }

  /** Waits for the end of the stream; resolves with its status. */
  end(): Promise<{ code: number; details: string }> {
    return eventually("the stream's end", () => this.ended);
  }

  /** Ends the stream and the connection. */
  close(): void {
    this.#stream?.cancel();
    this.#client.close();
  }

  /** Asks for a certificate; rejects with the gRPC status as `code`. */
  createCertificate(csr: string, impersonated?: string, validitySeconds = 86_400): Promise<string[]> {
    const request = create(IstioCertificateRequestSchema, {
      csr,
      validityDuration: BigInt(validitySeconds),
      ...(impersonated === undefined ? {} : { metadata: { ImpersonatedIdentity: impersonated } }),
    });
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        CREATE_CERTIFICATE_METHOD,
        () => Buffer.from(toBinary(IstioCertificateRequestSchema, request)),
        (bytes: Buffer) => fromBinary(IstioCertificateResponseSchema, bytes),
        request,
        this.#metadata(),
        { deadline: Date.now() + 10_000 },
        (error, response) => (error ? reject(error) : resolve(response?.certChain ?? [])),
      );
    });
  }

  #metadata(): grpc.Metadata {
    const metadata = new grpc.Metadata();
    const { token, clusterId = "Kubernetes" } = this.#options;
    if (token !== undefined) metadata.set("authorization", `Bearer ${token}`);
    metadata.set("clusterid", clusterId);
    return metadata;
  }

  #receive(response: DeltaDiscoveryResponse): void {
    this.responses.push(response);
    const { typeUrl, nonce } = response;
    const refusal = this.judge(response);
    const table = this.resources.get(typeUrl) ?? new Map();
    this.resources.set(typeUrl, table);
    for (const { name, version, resource } of response.resources) {
      table.set(name, { version, value: resource?.value ?? new Uint8Array() });
    }
    for (const name of response.removedResources) table.delete(name);
    this.send({
      typeUrl,
      responseNonce: nonce,
      ...(refusal === undefined
        ? {}
        : { errorDetail: { $typeName: "envoy.service.discovery.v3.Status", code: 0, message: refusal } }),
    });
  }
}
