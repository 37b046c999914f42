/** The aggregated discovery service: checks who asks, and keeps every stream in step with the model. */
import { randomBytes } from "node:crypto";
import type { Logger } from "pino";
import { parseIp } from "#lib/address.ts";
import { L7_TYPE_URLS, type NodeId, parseNodeId, type TypeUrl } from "#lib/xds/types.ts";
import { type DeltaDiscoveryRequest, DeltaDiscoveryRequestSchema, type Node } from "#proto/discovery_pb.ts";
import { authenticateCall, type Refusal } from "../auth/authenticate-call.ts";
import { type CallerLimits, LimitError } from "../auth/caller-limits.ts";
import { AuthenticationError, type CallerIdentity, type TokenAuthenticator } from "../auth/token-authenticator.ts";
import type { GrpcCall } from "../grpc/call.ts";
import { GRPC_STATUS, GrpcError } from "../grpc/status.ts";
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
import { MAX_CHANGE_BYTES } from "./responses.ts";
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
  readonly maxChangeBytes?: number;
}

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

/** Clients that are sent everything at the same time. */
const LOADING_AT_ONCE = 8;
const LOADING_MAX_MS = 10_000;
/** A client has no reason to send more than one request per type before it is answered. */
const MAX_EARLY_REQUESTS = 16;

export class AdsService {
  readonly #options: AdsServiceOptions;
  readonly #subscribers = new Set<Subscriber>();
  /** By Gateway. */
  readonly #waypoints = new Map<string, Set<ProgramSubscriber>>();
  #connected = 0;
  readonly #calls = new Set<GrpcCall>();
  readonly #states = new Set<StreamState>();
  readonly #gate = new LoadGate(LOADING_AT_ONCE, LOADING_MAX_MS);
  readonly #wholeAddresses: WholeTable;
  #index: AddressIndex | undefined;
  #version = 0;

  constructor(options: AdsServiceOptions) {
    this.#options = options;
    this.#wholeAddresses = new WholeTable(options.model.addresses);
  }

  /** Who is connected, and how far. */
  get clients(): readonly ClientSync[] {
    return [...this.#states].map(({ sync }) => sync);
  }

  /** Sends what a flush changed to every stream. */
  push(change: ModelChange): void {
    const { model, maxChangeBytes = MAX_CHANGE_BYTES } = this.#options;
    if (isEmpty(change)) return;
    this.#version++;
    this.#index?.update(change.addresses);
    this.#wholeAddresses.note(change.addresses);
    const push: Push = {
      version: String(this.#version),
      addresses: sharedBodies(model.addresses, change.addresses, maxChangeBytes),
      authorizations: sharedBodies(model.authorizations, change.authorizations, maxChangeBytes),
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
    for (const call of this.#calls) call.end(GRPC_STATUS.OK);
  }

  /** Takes one call: a stream for as long as the client wants. */
  serve(call: GrpcCall): void {
    this.#calls.add(call);
    const { authenticator, limits } = this.#options;
    // Requests that come before there is a session wait, in order.
    const waiting: DeltaDiscoveryRequest[] = [];
    let session: Session | undefined;
    let leave: (() => void) | undefined;
    let ended = false;
    const end = () => {
      ended = true;
      this.#calls.delete(call);
      session?.close();
      session = undefined;
      leave?.();
      leave = undefined;
    };
    const refuse = (error: unknown) => {
      if (ended) return;
      end();
      const { code, details } = this.#refusal(error, call.peer);
      call.end(code, details);
    };
    const start = async (identity: CallerIdentity) => {
      const opened = await this.#session(call, identity, waiting[0] as DeltaDiscoveryRequest, () => ended);
      if (opened === undefined) return;
      session = opened;
      // Taken out: a first request with the versions of a large mesh is megabytes, and the stream lives for long.
      for (const request of waiting.splice(0)) session.receive(request);
    };
    const receive = (identity: CallerIdentity, request: DeltaDiscoveryRequest) => {
      if (ended) return;
      if (session !== undefined) session.receive(request);
      else if (waiting.push(request) > MAX_EARLY_REQUESTS) {
        refuse(new GrpcError(GRPC_STATUS.RESOURCE_EXHAUSTED, "too many requests"));
      } else if (waiting.length === 1) start(identity).catch(refuse);
    };
    call.onClose(end);
    authenticateCall(authenticator, call)
      .then((identity) => {
        if (ended) return;
        leave = limits.openStream(identity);
        // Nothing is read before.
        call.read(DeltaDiscoveryRequestSchema, {
          message: (request) => receive(identity, request),
          end: () => {
            end();
            call.end(GRPC_STATUS.OK);
          },
        });
      })
      .catch(refuse);
  }

  /** Undefined: the stream has ended meanwhile. */
  async #session(
    call: GrpcCall,
    identity: CallerIdentity,
    first: DeltaDiscoveryRequest,
    ended: () => boolean,
  ): Promise<Session | undefined> {
    const node = checkNode(first.node, identity);
    const client = { client: `${node.namespace}/${node.podName}`, peer: call.peer };
    if (!L7_TYPE_URLS.some((type) => type === first.typeUrl)) return this.#meshSession(call, client, first);
    const gateway = gatewayOfCaller(this.#options.model, identity, gatewayLabel(first.node));
    const tables = gateway === undefined ? undefined : await this.#options.programs.loaded(gateway);
    if (ended()) return undefined;
    if (gateway === undefined || tables === undefined) {
      const account = `${identity.namespace}/${identity.serviceAccount}`;
      throw new GrpcError(GRPC_STATUS.PERMISSION_DENIED, `service account ${account} is no waypoint's`);
    }
    return this.#programSession(call, client, first.node, gateway, tables);
  }

  #meshSession(call: GrpcCall, client: Client, first: DeltaDiscoveryRequest): Session {
    const { model, log, metrics, maxChangeBytes } = this.#options;
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
      outlet: new BoundedOutlet(call, () => subscriber.drained()),
      gate: this.#gate,
      streamId: randomBytes(9).toString("base64url"),
      node: textOf(metadata.NODE_NAME),
      version: () => String(this.#version),
      ...(maxChangeBytes === undefined ? {} : { maxChangeBytes }),
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
    call: GrpcCall,
    client: Client,
    node: Node | undefined,
    gateway: string,
    tables: ProgramTables,
  ): Session {
    const { log, metrics, programListener } = this.#options;
    const state = stateOf(client, node, gateway);
    const subscriber: ProgramSubscriber = new ProgramSubscriber({
      tables,
      outlet: new BoundedOutlet(call, () => subscriber.drained()),
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
  #refusal(error: unknown, peer: string): Refusal {
    const { log, metrics } = this.#options;
    metrics.refused();
    const known = [GrpcError, LimitError, AuthenticationError].some((type) => error instanceof type);
    if (known && error instanceof Error) log.warn({ peer, reason: error.message }, "xds stream refused");
    else log.error({ peer, err: error }, "cannot authenticate an xds client");
    if (error instanceof GrpcError) return { code: error.code, details: error.message };
    if (error instanceof LimitError) return { code: GRPC_STATUS.RESOURCE_EXHAUSTED, details: "too many requests" };
    if (error instanceof AuthenticationError) return { code: GRPC_STATUS.UNAUTHENTICATED, details: "unauthenticated" };
    return { code: GRPC_STATUS.UNAVAILABLE, details: "authentication unavailable" };
  }
}

/** The node that the client says it is must be the one that its token proves. */
function checkNode(node: Node | undefined, identity: CallerIdentity): NodeId {
  if (node === undefined || node.id === "") throw new GrpcError(GRPC_STATUS.INVALID_ARGUMENT, "missing node id");
  const id = parseNodeId(node.id);
  if (id === undefined || !NODE_TYPES.includes(id.type) || parseIp(id.ip) === undefined) {
    throw new GrpcError(GRPC_STATUS.INVALID_ARGUMENT, `invalid node id "${node.id}"`);
  }
  const namespace = textOf(node.metadata?.NAMESPACE) || id.namespace;
  const serviceAccount = textOf(node.metadata?.SERVICE_ACCOUNT);
  if (namespace !== identity.namespace || id.namespace !== identity.namespace) {
    throw new GrpcError(GRPC_STATUS.PERMISSION_DENIED, `token is of namespace ${identity.namespace}, not ${namespace}`);
  }
  if (serviceAccount !== "" && serviceAccount !== identity.serviceAccount) {
    const message = `token is of service account ${identity.serviceAccount}, not ${serviceAccount}`;
    throw new GrpcError(GRPC_STATUS.PERMISSION_DENIED, message);
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
