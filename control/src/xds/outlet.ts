import type { Writable } from "node:stream";
import type { Outlet } from "./subscriber.ts";

/** Bytes that may wait for one slow client before its subscriber stops encoding for it: a little over one response. */
const HIGH_WATER_BYTES = 4_000_000;
const LOW_WATER_BYTES = 500_000;

/** Counts what a client has not taken yet. gRPC's own stream counts messages, which can be of any size. */
export class BoundedOutlet implements Outlet {
  readonly #stream: Writable;
  readonly #onRoom: () => void;
  #waitingBytes = 0;
  #full = false;
  #onEmpty: (() => void) | undefined;

  /** `onRoom` is called after `write` has returned false, once there is room. */
  constructor(stream: Writable, onRoom: () => void) {
    this.#stream = stream;
    this.#onRoom = onRoom;
  }

  write(message: Buffer): boolean {
    this.#waitingBytes += message.length;
    this.#stream.write(message, (error) => {
      this.#waitingBytes -= message.length;
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
