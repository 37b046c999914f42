/** The aggregated discovery service: checks who asks, and keeps every stream in step with the model. */
import { randomBytes } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import { type ServerDuplexStream, type ServiceDefinition, status } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { parseIp } from "#lib/address.ts";
import { DELTA_ADS_METHOD, L7_TYPE_URLS, type NodeId, parseNodeId, type TypeUrl } from "#lib/xds/types.ts";
import { type DeltaDiscoveryRequest, DeltaDiscoveryRequestSchema, type Node } from "#proto/discovery_pb.ts";
import { authenticateCall, type Refusal } from "../auth/authentication-gate.ts";
import { type CallerLimits, LimitError } from "../auth/caller-limits.ts";
import { AuthenticationError, type CallerIdentity, type TokenAuthenticator } from "../auth/token-authenticator.ts";
import { GATEWAY_NAME_LABEL } from "../model/gateway.ts";
import type { MeshModel, ModelChange } from "../model/mesh-model.ts";
import { AddressIndex } from "./address-index.ts";
import { LoadGate } from "./load-gate.ts";
import { BoundedOutlet } from "./outlet.ts";
import {
  gatewayOfCaller,
  type ProgramChange,
  type ProgramListener,
  type ProgramSource,
  type ProgramTables,
} from "./program-source.ts";
import { ProgramSubscriber } from "./program-subscriber.ts";
import { MAX_RESPONSE_BYTES } from "./responses.ts";
import { type ClientSync, StreamState } from "./stream-state.ts";
import { type Push, Subscriber } from "./subscriber.ts";
import { sharedBodies } from "./subscription.ts";
import { WholeTable } from "./whole-table.ts";

export interface AdsMetrics {
  connected(count: number): void;
  /** A response went out. */
  pushed(type: TypeUrl): void;
  rejected(type: string): void;
  refused(): void;
}

export interface AdsServiceOptions {
  readonly model: MeshModel;
  readonly authenticator: TokenAuthenticator;
  readonly limits: CallerLimits;
  readonly log: Logger;
  readonly metrics: AdsMetrics;
  readonly programs: ProgramSource;
  readonly programListener: ProgramListener;
  readonly maxResponseBytes?: number;
}

/** Responses are encoded by us; requests are decoded when they come. */
export const ADS_SERVICE: ServiceDefinition = {
  DeltaAggregatedResources: {
    path: DELTA_ADS_METHOD,
    requestStream: true,
    responseStream: true,
    requestSerialize: (bytes: Buffer) => bytes,
    requestDeserialize: (bytes: Buffer) => fromBinary(DeltaDiscoveryRequestSchema, bytes),
    responseSerialize: (bytes: Buffer) => bytes,
    responseDeserialize: (bytes: Buffer) => bytes,
  },
};

type Stream = ServerDuplexStream<DeltaDiscoveryRequest, Buffer>;

/** Of whom log lines speak. */
interface Client {
  readonly client: string;
  readonly peer: string;
}

interface Session {
  readonly receive: (request: DeltaDiscoveryRequest) => void;
  readonly close: () => void;
}

/** What may stand first in a node id. */
const NODE_TYPES = ["ztunnel", "waypoint", "router", "sidecar", "agentgateway"];

/** Clients that are sent everything at the same time: about 60 MB in flight with the largest responses. */
const LOADING_AT_ONCE = 8;
const LOADING_MAX_MS = 10_000;

/** Why a stream is refused; the message goes to the client. */
class RefusedError extends Error {
  readonly code: status;
  constructor(code: status, message: string) {
    super(message);
    this.code = code;
  }
}

export class AdsService {
  readonly #options: AdsServiceOptions;
  readonly #subscribers = new Set<Subscriber>();
  /** By Gateway. */
  readonly #waypoints = new Map<string, Set<ProgramSubscriber>>();
  #connected = 0;
  readonly #streams = new Set<Stream>();
  readonly #states = new Set<StreamState>();
  readonly #gate = new LoadGate(LOADING_AT_ONCE, LOADING_MAX_MS);
  readonly #wholeAddresses: WholeTable;
  #index: AddressIndex | undefined;
  #version = 0;

  constructor(options: AdsServiceOptions) {
    this.#options = options;
    this.#wholeAddresses = new WholeTable(options.model.addresses, options.maxResponseBytes ?? MAX_RESPONSE_BYTES);
  }

  get implementation() {
    return { DeltaAggregatedResources: (stream: Stream) => this.#open(stream) };
  }

  /** Who is connected, and how far. */
  get clients(): readonly ClientSync[] {
    return [...this.#states].map(({ sync }) => sync);
  }

  /** Sends what a flush changed to every stream. */
  push(change: ModelChange): void {
    const { model, maxResponseBytes = MAX_RESPONSE_BYTES } = this.#options;
    if (isEmpty(change)) return;
    this.#version++;
    this.#index?.update(change.addresses);
    const push: Push = {
      version: String(this.#version),
      addresses: sharedBodies(model.addresses, change.addresses, maxResponseBytes),
      authorizations: sharedBodies(model.authorizations, change.authorizations, maxResponseBytes),
    };
    for (const subscriber of this.#subscribers) subscriber.push(push);
  }

  /** Sends what changed of programs to the waypoints that run them. */
  pushPrograms(change: ProgramChange): void {
    if (change.size === 0) return;
    this.#version++;
    for (const [gateway, changes] of change) {
      for (const subscriber of this.#waypoints.get(gateway) ?? []) subscriber.push(changes);
    }
  }

  /** Ends every stream in order, so that clients come back at once, to another replica if there is one. */
  close(): void {
    for (const stream of this.#streams) stream.end();
  }

  #open(stream: Stream): void {
    this.#streams.add(stream);
    const peer = stream.getPeer();
    const { authenticator, limits } = this.#options;
    // Requests that come before there is a session wait, in order.
    const waiting: DeltaDiscoveryRequest[] = [];
    let session: Session | undefined;
    let leave: (() => void) | undefined;
    let ended = false;
    const end = () => {
      ended = true;
      this.#streams.delete(stream);
      session?.close();
      session = undefined;
      leave?.();
      leave = undefined;
    };
    const refuse = (error: unknown) => {
      if (ended) return;
      end();
      const { code, details } = this.refusal(error, peer);
      // The way to end a call with a status.
      stream.emit("error", Object.assign(new Error(details), { code, details }));
    };
    const start = async (identity: CallerIdentity) => {
      const opened = await this.#session(stream, peer, identity, waiting[0] as DeltaDiscoveryRequest, () => ended);
      if (opened === undefined) return;
      session = opened;
      for (const request of waiting) session.receive(request);
    };
    stream.on("error", end);
    stream.on("close", end);
    stream.on("cancelled", end);
    authenticateCall(authenticator, stream.metadata, peer)
      .then((identity) => {
        if (ended) return;
        leave = limits.openStream(identity);
        // Nothing is read before.
        stream.on("end", () => {
          end();
          stream.end();
        });
        stream.on("data", (request: DeltaDiscoveryRequest) => {
          if (session !== undefined) session.receive(request);
          // A client has no reason to send more than one request per type before it is answered.
          else if (waiting.push(request) > 16) refuse(new RefusedError(status.RESOURCE_EXHAUSTED, "too many requests"));
          else if (waiting.length === 1) start(identity).catch(refuse);
        });
      })
      .catch(refuse);
  }

  /** Undefined: the stream has ended meanwhile. */
  async #session(
    stream: Stream,
    peer: string,
    identity: CallerIdentity,
    first: DeltaDiscoveryRequest,
    ended: () => boolean,
  ): Promise<Session | undefined> {
    const node = checkNode(first.node, identity);
    const client = { client: `${node.namespace}/${node.podName}`, peer };
    if (!L7_TYPE_URLS.some((type) => type === first.typeUrl)) return this.#meshSession(stream, client, first);
    const gateway = gatewayOfCaller(this.#options.model, identity, gatewayLabel(first.node));
    const tables = gateway === undefined ? undefined : await this.#options.programs.loaded(gateway);
    if (ended()) return undefined;
    if (gateway === undefined || tables === undefined) {
      const account = `${identity.namespace}/${identity.serviceAccount}`;
      throw new RefusedError(status.PERMISSION_DENIED, `service account ${account} is no waypoint's`);
    }
    return this.#programSession(stream, client, first.node, gateway, tables);
  }

  #meshSession(stream: Stream, client: Client, first: DeltaDiscoveryRequest): Session {
    const { model, log, metrics, maxResponseBytes } = this.#options;
    const metadata = first.node?.metadata ?? {};
    const state = stateOf(client, first.node);
    const subscriber: Subscriber = new Subscriber({
      addresses: model.addresses,
      wholeAddresses: this.#wholeAddresses,
      authorizations: model.authorizations,
      index: () => {
        this.#index ??= new AddressIndex(model.addresses);
        return this.#index;
      },
      outlet: new BoundedOutlet(stream, () => subscriber.drained()),
      gate: this.#gate,
      streamId: randomBytes(9).toString("base64url"),
      node: textOf(metadata.NODE_NAME),
      version: () => String(this.#version),
      ...(maxResponseBytes === undefined ? {} : { maxResponseBytes }),
      events: {
        sent: (type) => {
          metrics.pushed(type);
          state.sent(type);
        },
        nacked: (type, message) => {
          metrics.rejected(type);
          log.warn({ ...client, type, message }, "client refused resources");
        },
      },
    });
    this.#subscribers.add(subscriber);
    return this.#opened(subscriber, state, client, () => this.#subscribers.delete(subscriber));
  }

  /** A waypoint gets its own Gateway's program, by its account, and nothing else. */
  #programSession(
    stream: Stream,
    client: Client,
    node: Node | undefined,
    gateway: string,
    tables: ProgramTables,
  ): Session {
    const { log, metrics, programListener } = this.#options;
    const state = stateOf(client, node, gateway);
    const subscriber: ProgramSubscriber = new ProgramSubscriber({
      tables,
      outlet: new BoundedOutlet(stream, () => subscriber.drained()),
      streamId: randomBytes(9).toString("base64url"),
      version: () => String(this.#version),
      onSent: (type) => {
        metrics.pushed(type);
        state.sent(type);
      },
      onAnswer: (type, names, error) => {
        if (error !== undefined) {
          metrics.rejected(type);
          log.warn({ ...client, gateway, type, message: error }, "waypoint refused resources");
        }
        programListener.answered({ gateway, client: client.client, type, names, error });
      },
      onUnknown: (type) => {
        metrics.rejected(type);
        log.warn({ ...client, gateway, type }, "waypoint asks for a type that is not served");
      },
    });
    const siblings = this.#waypoints.get(gateway) ?? new Set();
    this.#waypoints.set(gateway, siblings.add(subscriber));
    return this.#opened(subscriber, state, { ...client, gateway }, () => {
      siblings.delete(subscriber);
      programListener.gone(gateway, client.client);
      if (siblings.size === 0 && this.#waypoints.get(gateway) === siblings) this.#waypoints.delete(gateway);
    });
  }

  #opened(
    subscriber: Pick<Session, "receive" | "close">,
    state: StreamState,
    client: object,
    forget: () => void,
  ): Session {
    const { log, metrics } = this.#options;
    metrics.connected(++this.#connected);
    this.#states.add(state);
    log.info(client, "xds client connected");
    const close = () => {
      subscriber.close();
      this.#states.delete(state);
      forget();
      metrics.connected(--this.#connected);
      log.info(client, "xds client gone");
    };
    const receive = (request: DeltaDiscoveryRequest) => {
      state.received(request);
      subscriber.receive(request);
    };
    return { receive, close };
  }

  /** What the client is told; logged and counted. */
  refusal(error: unknown, peer: string): Refusal {
    const { log, metrics } = this.#options;
    metrics.refused();
    const known = [RefusedError, LimitError, AuthenticationError].some((type) => error instanceof type);
    if (known && error instanceof Error) log.warn({ peer, reason: error.message }, "xds stream refused");
    else log.error({ peer, err: error }, "cannot authenticate an xds client");
    if (error instanceof RefusedError) return { code: error.code, details: error.message };
    if (error instanceof LimitError) return { code: status.RESOURCE_EXHAUSTED, details: "too many requests" };
    if (error instanceof AuthenticationError) return { code: status.UNAUTHENTICATED, details: "unauthenticated" };
    return { code: status.UNAVAILABLE, details: "authentication unavailable" };
  }
}

/** The node that the client says it is must be the one that its token proves. */
function checkNode(node: Node | undefined, identity: CallerIdentity): NodeId {
  if (node === undefined || node.id === "") throw new RefusedError(status.INVALID_ARGUMENT, "missing node id");
  const id = parseNodeId(node.id);
  if (id === undefined || !NODE_TYPES.includes(id.type) || parseIp(id.ip) === undefined) {
    throw new RefusedError(status.INVALID_ARGUMENT, `invalid node id "${node.id}"`);
  }
  const namespace = textOf(node.metadata?.NAMESPACE) || id.namespace;
  const serviceAccount = textOf(node.metadata?.SERVICE_ACCOUNT);
  if (namespace !== identity.namespace || id.namespace !== identity.namespace) {
    throw new RefusedError(status.PERMISSION_DENIED, `token is of namespace ${identity.namespace}, not ${namespace}`);
  }
  if (serviceAccount !== "" && serviceAccount !== identity.serviceAccount) {
    const message = `token is of service account ${identity.serviceAccount}, not ${serviceAccount}`;
    throw new RefusedError(status.PERMISSION_DENIED, message);
  }
  return id;
}

function stateOf({ client, peer }: Client, node: Node | undefined, gateway?: string): StreamState {
  const metadata = node?.metadata ?? {};
  return new StreamState({
    client,
    kind: parseNodeId(node?.id ?? "")?.type ?? "",
    node: textOf(metadata.NODE_NAME),
    version: textOf(metadata.WEFT_VERSION) || textOf(metadata.ISTIO_VERSION),
    address: peer,
    ...(gateway === undefined ? {} : { gateway }),
  });
}

/** What the pod says its Gateway is, in its labels. */
function gatewayLabel(node: Node | undefined): string {
  const labels: unknown = node?.metadata?.LABELS;
  return typeof labels === "object" && labels !== null
    ? textOf((labels as Record<string, unknown>)[GATEWAY_NAME_LABEL])
    : "";
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function isEmpty({ addresses, authorizations }: ModelChange): boolean {
  return (
    addresses.changed.size + addresses.removed.size + authorizations.changed.size + authorizations.removed.size === 0
  );
}
