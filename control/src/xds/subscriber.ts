/** One delta ADS stream: what the client asked for, what it has, and what is next. */
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, type TypeUrl, WILDCARD } from "#lib/xds/types.ts";
import type { DeltaDiscoveryRequest } from "#proto/discovery_pb.ts";
import type { OutgoingMessage } from "../grpc/call.ts";
import type { ResourceTable } from "../model/resource-table.ts";
import type { AddressIndex } from "./address-index.ts";
import type { LoadGate } from "./load-gate.ts";
import { type Body, encodeResponse, type ListedBody, MAX_CHANGE_BYTES } from "./responses.ts";
import { OnDemandSubscription, type Subscription, WildcardSubscription } from "./subscription.ts";
import type { WholeTable } from "./whole-table.ts";

/** The stream as the subscriber sees it. */
export interface Outlet {
  readonly takesDeflate: boolean;
  /** False: hold further messages until told that there is room again. */
  write(message: OutgoingMessage): boolean;
  /** Calls `callback` once the client has taken everything that was written. */
  whenEmpty(callback: () => void): void;
}

/** One push, encoded once for all subscribers that are up to date. */
export interface Push {
  readonly version: string;
  readonly addresses: { readonly changed: readonly ListedBody[]; readonly removed: readonly ListedBody[] };
  readonly authorizations: { readonly changed: readonly ListedBody[]; readonly removed: readonly ListedBody[] };
}

export interface SubscriberEvents {
  sent(type: TypeUrl): void;
  /** The client refused resources; they are not sent again until they change. */
  nacked(type: string, message: string): void;
}

export interface SubscriberOptions {
  readonly addresses: ResourceTable;
  /** The same table, for clients that are to get all of it. */
  readonly wholeAddresses: WholeTable;
  readonly authorizations: ResourceTable;
  /** Built when first asked for. */
  readonly index: () => AddressIndex;
  readonly outlet: Outlet;
  readonly gate: LoadGate;
  readonly events: SubscriberEvents;
  /** Unique among streams; makes nonces unique. */
  readonly streamId: string;
  /** Of the client's NODE_NAME; empty when it gave none. */
  readonly node: string;
  readonly version: () => string;
  readonly maxChangeBytes?: number;
}

/**
 * How long workloads wait for the client to ask for policies. Clients ask for both at once, workloads first; a workload
 * that names a policy which has not arrived would be open until it does.
 */
export const POLICY_WAIT_MS = 500;

export class Subscriber {
  readonly #options: SubscriberOptions;
  readonly #maxBytes: number;
  readonly #subscriptions = new Map<TypeUrl, Subscription>();
  readonly #lastNonce = new Map<TypeUrl, string>();
  #nonces = 0;
  #blocked = false;
  #closed = false;
  #policyWait: NodeJS.Timeout | undefined;
  #policiesWaitedFor = false;
  #pumping = false;
  /** Gives our place among those who load everything up; undefined before we asked for one. */
  #leaveGate: (() => void) | undefined;
  #admitted = false;

  constructor(options: SubscriberOptions) {
    this.#options = options;
    this.#maxBytes = options.maxChangeBytes ?? MAX_CHANGE_BYTES;
  }

  /** The client is behind: it does not read as fast as we would write. */
  get blocked(): boolean {
    return this.#blocked;
  }

  receive(request: DeltaDiscoveryRequest): void {
    const type = request.typeUrl;
    if (type !== ADDRESS_TYPE && type !== AUTHORIZATION_TYPE) {
      this.#options.events.nacked(type, "client asks for a type that is not served");
      return;
    }
    if (request.errorDetail !== undefined) this.#options.events.nacked(type, request.errorDetail.message);
    const existing = this.#subscriptions.get(type);
    if (existing === undefined) this.#subscribe(type, request);
    else this.#change(type, existing, request);
    this.#pump();
  }

  /** Sends a push as it is when there is no backlog, else notes it. */
  push(push: Push): void {
    const parts: (readonly [TypeUrl, ListedBody])[] = [
      ...push.authorizations.changed.map((body) => [AUTHORIZATION_TYPE, body] as const),
      ...push.addresses.changed.map((body) => [ADDRESS_TYPE, body] as const),
      ...push.addresses.removed.map((body) => [ADDRESS_TYPE, body] as const),
      // Last, so that no workload is left naming a policy that is gone while its successor is not yet named.
      ...push.authorizations.removed.map((body) => [AUTHORIZATION_TYPE, body] as const),
    ];
    let direct = !this.#blocked && this.#policyWait === undefined && this.#upToDate();
    for (const [type, body] of parts) {
      const subscription = this.#subscriptions.get(type);
      if (subscription === undefined) continue;
      if (direct && subscription instanceof WildcardSubscription) {
        this.#send(type, body);
        if (this.#blocked) direct = false;
      } else {
        subscription.add(body);
        direct = false;
      }
    }
    this.#pump();
  }

  /** The stream has room again. */
  drained(): void {
    this.#blocked = false;
    this.#pump();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#policyWait);
    this.#leaveGate?.();
  }

  #upToDate(): boolean {
    for (const subscription of this.#subscriptions.values()) if (!subscription.idle) return false;
    return true;
  }

  #subscribe(type: TypeUrl, request: DeltaDiscoveryRequest): void {
    const { addresses, authorizations, index, node } = this.#options;
    const retained = request.initialResourceVersions;
    const { resourceNamesSubscribe: wanted, resourceNamesUnsubscribe: unwanted } = request;
    const everything = wanted.length === 0 || (wanted.includes(WILDCARD) && !unwanted.includes(WILDCARD));
    if (type === AUTHORIZATION_TYPE) {
      this.#subscriptions.set(type, new WildcardSubscription(authorizations, retained));
      this.#endPolicyWait();
      return;
    }
    if (everything) {
      this.#subscriptions.set(type, new WildcardSubscription(addresses, retained));
    } else {
      const subscription = new OnDemandSubscription(addresses, index(), node, retained);
      subscription.subscribe(wanted.filter((name) => name !== WILDCARD));
      this.#subscriptions.set(type, subscription);
    }
    if (!this.#subscriptions.has(AUTHORIZATION_TYPE) && !this.#policiesWaitedFor) {
      this.#policiesWaitedFor = true;
      this.#policyWait = setTimeout(() => {
        this.#endPolicyWait();
        this.#pump();
      }, POLICY_WAIT_MS);
    }
  }

  #endPolicyWait(): void {
    clearTimeout(this.#policyWait);
    this.#policyWait = undefined;
  }

  #change(type: TypeUrl, subscription: Subscription, request: DeltaDiscoveryRequest): void {
    const { resourceNamesSubscribe: wanted, resourceNamesUnsubscribe: unwanted, responseNonce } = request;
    // An answer to an earlier response says nothing new; a request of its own has no nonce.
    if (responseNonce !== "" && responseNonce !== this.#lastNonce.get(type) && wanted.length + unwanted.length === 0) {
      return;
    }
    const names = wanted.filter((name) => name !== WILDCARD);
    if (subscription instanceof OnDemandSubscription) {
      subscription.subscribe(names);
      subscription.unsubscribe(unwanted);
      return;
    }
    const table = type === ADDRESS_TYPE ? this.#options.addresses : this.#options.authorizations;
    subscription.add({
      changed: names.filter((name) => table.get(name) !== undefined),
      removed: names.filter((name) => table.get(name) === undefined),
    });
  }

  /** Sends what is due while there is room: policies, then workloads and services, then policies that are gone. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (!this.#blocked && !this.#closed) {
      const next = this.#next();
      if (next === undefined) break;
      this.#send(...next);
    }
    this.#pumping = false;
  }

  /** Whether a client that is to get everything may begin; when its turn comes later, it begins then. */
  #mayLoad(): boolean {
    const { gate, wholeAddresses } = this.#options;
    this.#leaveGate ??= gate.request(() => {
      const begin = () => {
        this.#admitted = true;
        this.#pump();
      };
      if (wholeAddresses.ready) begin();
      else void wholeAddresses.prepare().then(begin);
    });
    return this.#admitted;
  }

  #next(): [TypeUrl, Body] | undefined {
    const policies = this.#subscriptions.get(AUTHORIZATION_TYPE);
    const policyBody = policies?.takeChanged(this.#maxBytes);
    if (policyBody !== undefined) return [AUTHORIZATION_TYPE, policyBody];
    if (this.#policyWait !== undefined) return undefined;
    const addresses = this.#subscriptions.get(ADDRESS_TYPE);
    if (addresses instanceof WildcardSubscription && addresses.wantsWhole) {
      if (!this.#mayLoad()) return undefined;
      addresses.tookWhole();
      return [ADDRESS_TYPE, this.#options.wholeAddresses.body()];
    }
    const addressBody = addresses?.takeChanged(this.#maxBytes) ?? addresses?.takeRemoved();
    if (addressBody !== undefined) return [ADDRESS_TYPE, addressBody];
    const gone = policies?.takeRemoved();
    return gone === undefined ? undefined : [AUTHORIZATION_TYPE, gone];
  }

  #send(type: TypeUrl, body: Body): void {
    const { outlet, events, streamId, version } = this.#options;
    const nonce = `${streamId}-${++this.#nonces}`;
    this.#lastNonce.set(type, nonce);
    const message = encodeResponse(type, version(), nonce, body, outlet.takesDeflate);
    if (!outlet.write(message)) this.#blocked = true;
    events.sent(type);
    // Who has everything leaves its place to the next one.
    if (this.#admitted && this.#leaveGate !== undefined) outlet.whenEmpty(this.#leaveGate);
  }
}
