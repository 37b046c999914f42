/** One waypoint's stream: its own Gateway's program, type by type, and what it says of it. */
import { L7_TYPE_URLS, type TypeUrl } from "#lib/xds/types.ts";
import type { DeltaDiscoveryRequest } from "#proto/discovery_pb.ts";
import type { TableChange } from "../model/resource-table.ts";
import type { ProgramTables } from "./program-source.ts";
import { encodeResponse, type ListedBody, MAX_CHANGE_BYTES } from "./responses.ts";
import type { Outlet } from "./subscriber.ts";
import { WildcardSubscription } from "./subscription.ts";

export interface ProgramSubscriberOptions {
  readonly tables: ProgramTables;
  readonly outlet: Outlet;
  /** Unique among streams; makes nonces unique. */
  readonly streamId: string;
  readonly version: () => string;
  readonly onSent: (type: TypeUrl) => void;
  /** The client took the resources, changed or removed, or (with an error) not all of them. */
  readonly onAnswer: (type: TypeUrl, names: readonly string[], error: string | undefined) => void;
  /** It asks for something that it cannot have. */
  readonly onUnknown: (type: string) => void;
}

/** Responses that a client has not answered: more are not remembered, and their answers say nothing of names. */
const MAX_UNANSWERED = 1_000;

export class ProgramSubscriber {
  readonly #options: ProgramSubscriberOptions;
  readonly #subscriptions = new Map<TypeUrl, WildcardSubscription>();
  /** Names in a response by its nonce. */
  readonly #unanswered = new Map<string, readonly string[]>();
  #nonces = 0;
  #blocked = false;
  #closed = false;

  constructor(options: ProgramSubscriberOptions) {
    this.#options = options;
  }

  receive(request: DeltaDiscoveryRequest): void {
    const { tables, onUnknown } = this.#options;
    const type = L7_TYPE_URLS.find((each) => each === request.typeUrl);
    const table = type && tables.get(type);
    if (type === undefined || table === undefined) {
      onUnknown(request.typeUrl);
      return;
    }
    if (this.#subscriptions.has(type)) {
      this.#answer(type, request);
    } else {
      // Every waypoint needs its whole program: names in the request say nothing.
      this.#subscriptions.set(type, new WildcardSubscription(table, request.initialResourceVersions));
    }
    this.#pump();
  }

  /** What changed of this program; `changes` may leave types out. */
  push(changes: ReadonlyMap<TypeUrl, TableChange>): void {
    for (const [type, change] of changes) this.#subscriptions.get(type)?.add(change);
    this.#pump();
  }

  /** The stream has room again. */
  drained(): void {
    this.#blocked = false;
    this.#pump();
  }

  close(): void {
    this.#closed = true;
  }

  #answer(type: TypeUrl, { responseNonce, errorDetail }: DeltaDiscoveryRequest): void {
    const names = this.#unanswered.get(responseNonce);
    if (names === undefined && errorDetail === undefined) return;
    this.#unanswered.delete(responseNonce);
    this.#options.onAnswer(type, names ?? [], errorDetail?.message);
  }

  #pump(): void {
    while (!this.#blocked && !this.#closed) {
      const next = this.#next();
      if (next === undefined) return;
      this.#send(...next);
    }
  }

  /** What is pointed to comes before what points to it, and goes after it. */
  #next(): [TypeUrl, ListedBody] | undefined {
    for (const type of L7_TYPE_URLS) {
      const body = this.#subscriptions.get(type)?.takeChanged(MAX_CHANGE_BYTES);
      if (body !== undefined) return [type, body];
    }
    for (const type of L7_TYPE_URLS.toReversed()) {
      const body = this.#subscriptions.get(type)?.takeRemoved();
      if (body !== undefined) return [type, body];
    }
    return undefined;
  }

  #send(type: TypeUrl, body: ListedBody): void {
    const { outlet, streamId, version, onSent } = this.#options;
    const nonce = `${streamId}-${++this.#nonces}`;
    if (this.#unanswered.size < MAX_UNANSWERED) this.#unanswered.set(nonce, [...body.changed, ...body.removed]);
    if (!outlet.write(encodeResponse(type, version(), nonce, body, outlet.takesDeflate))) this.#blocked = true;
    onSent(type);
  }
}
