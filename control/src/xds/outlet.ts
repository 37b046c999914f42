import type { GrpcCall, OutgoingMessage } from "../grpc/call.ts";
import type { Outlet } from "./subscriber.ts";

/** Bytes that may wait for one slow client before its subscriber stops encoding for it: a little over one change. */
const HIGH_WATER_BYTES = 4_000_000;
const LOW_WATER_BYTES = 500_000;

/** Counts what a client has not taken yet. */
export class BoundedOutlet implements Outlet {
  readonly #call: GrpcCall;
  readonly #onRoom: () => void;
  #waitingBytes = 0;
  #full = false;
  #onEmpty: (() => void) | undefined;

  /** `onRoom` is called after `write` has returned false, once there is room. */
  constructor(call: GrpcCall, onRoom: () => void) {
    this.#call = call;
    this.#onRoom = onRoom;
  }

  get takesDeflate(): boolean {
    return this.#call.takesDeflate;
  }

  write(message: OutgoingMessage): boolean {
    const bytes = message.parts.reduce((sum, { length }) => sum + length, 0);
    this.#waitingBytes += bytes;
    this.#call.write(message, (error) => {
      this.#waitingBytes -= bytes;
      if (this.#waitingBytes === 0) this.#onEmpty?.();
      if (!this.#full || this.#waitingBytes > LOW_WATER_BYTES || error) return;
      this.#full = false;
      this.#onRoom();
    });
    this.#full = this.#waitingBytes >= HIGH_WATER_BYTES;
    return !this.#full;
  }

  whenEmpty(callback: () => void): void {
    if (this.#waitingBytes === 0) callback();
    else this.#onEmpty = callback;
  }
}
