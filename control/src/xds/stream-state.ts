/** How far one client is: what went out to it, type by type, and what it has said of it. */
import type { DeltaDiscoveryRequest } from "#proto/discovery_pb.ts";

export interface TypeSync {
  readonly type: string;
  /** Responses that went out, and answers that came. */
  readonly sent: number;
  readonly answered: number;
  /** ISO 8601. */
  readonly lastSent?: string;
  readonly lastAnswered?: string;
  /** Why the client did not take all of the last response that it has answered. */
  readonly error?: string;
}

/** One line of `/debug/syncz`. */
export interface ClientSync {
  /** `namespace/pod` */
  readonly client: string;
  /** `ztunnel` (an agent) or `waypoint`. */
  readonly kind: string;
  readonly node: string;
  readonly version: string;
  readonly address: string;
  /** `namespace/name` of a waypoint's Gateway. */
  readonly gateway?: string;
  readonly connected: string;
  readonly types: readonly TypeSync[];
}

export type ClientFacts = Omit<ClientSync, "connected" | "types">;

interface Progress {
  sent: number;
  answered: number;
  lastSent?: string;
  lastAnswered?: string;
  error?: string | undefined;
}

const MAX_ERROR_CHARS = 500;

export class StreamState {
  readonly #facts: ClientFacts;
  readonly #connected = new Date().toISOString();
  readonly #types = new Map<string, Progress>();

  constructor(facts: ClientFacts) {
    this.#facts = facts;
  }

  sent(type: string): void {
    const progress = this.#types.get(type) ?? { sent: 0, answered: 0 };
    progress.sent++;
    progress.lastSent = new Date().toISOString();
    this.#types.set(type, progress);
  }

  /** Requests that are no answers, and answers to what was never sent, say nothing. */
  received({ typeUrl, responseNonce, errorDetail }: DeltaDiscoveryRequest): void {
    const progress = this.#types.get(typeUrl);
    if (progress === undefined || responseNonce === "" || progress.answered === progress.sent) return;
    progress.answered++;
    progress.lastAnswered = new Date().toISOString();
    progress.error = errorDetail?.message.slice(0, MAX_ERROR_CHARS);
  }

  get sync(): ClientSync {
    const types = [...this.#types].map(([type, { error, ...rest }]) => ({
      type,
      ...rest,
      ...(error === undefined ? {} : { error }),
    }));
    return { ...this.#facts, connected: this.#connected, types };
  }
}
