/**
 * `struct weft_event` of bpf/include/weft_abi.h: what BPF tells of connections that it handles alone, from its ring
 * buffer and from the iterator over open ones. Up to 20,000 a second, so a cursor reads fields where they lie; only
 * who needs a whole record makes an object of it.
 */
import { ipFromBytes } from "#lib/address.ts";
import { REASONS, type Reason } from "#lib/reasons.ts";
import type { DirectConnection, NetnsCookie, SocketAddress } from "../native.ts";

/** `sizeof(struct weft_event)`. */
export const EVENT_BYTES = 152;

/** Offsets of fields; the machine is little-endian, addresses are in network order. */
export const FIELD = {
  kind: 0,
  path: 4,
  srcNetns: 8,
  dstNetns: 16,
  source: 24,
  asked: 48,
  destination: 72,
  openedNs: 96,
  closedNs: 104,
  requestBytes: 112,
  responseBytes: 120,
  srttUs: 128,
  retransmits: 132,
  endpoint: 136,
  reason: 140,
  flags: 144,
} as const;
/** Within a `struct weft_address`. */
const PORT = 16;

export const EVENT_OPEN = 1;
export const EVENT_CLOSED = 2;
export const EVENT_DENIED = 3;

const ESTABLISHED = 1;
const EXPRESS = 2;
const REDIRECTED = 4;
const ORPHAN = 64;

export type DirectPathName = DirectConnection["path"];
const PATHS: readonly (DirectPathName | undefined)[] = [undefined, "direct", "plain-out", "plain-in"];

const REASON_BY_NUMBER: readonly (Reason | undefined)[] = (() => {
  const labels: (Reason | undefined)[] = [];
  for (const [label, [number]] of Object.entries(REASONS)) labels[number] = label as Reason;
  return labels;
})();

/** A record by itself. */
export interface DirectRecord extends DirectConnection {
  /** What the application asked for. */
  readonly asked: SocketAddress;
}

/** Walks over events that lie one after the other. A torn rest is not looked at. */
export class EventCursor {
  readonly #buffer: Buffer;
  readonly #view: DataView;
  #at = -EVENT_BYTES;

  constructor(events: Uint8Array) {
    const { buffer, byteOffset, byteLength } = events;
    this.#buffer = Buffer.from(buffer, byteOffset, byteLength);
    this.#view = new DataView(buffer, byteOffset, byteLength);
  }

  /** To the next event; false when there is none. */
  next(): boolean {
    this.#at += EVENT_BYTES;
    return this.#at + EVENT_BYTES <= this.#view.byteLength;
  }

  get kind(): number {
    return this.#u32(FIELD.kind);
  }

  /** Undefined: a path that this agent does not know. */
  get path(): DirectPathName | undefined {
    return PATHS[this.#u32(FIELD.path)];
  }

  /** Everything but the port of the initiator and what differs from one connection to the next, as a text to look up. */
  kindOfConnection(): string {
    const at = this.#at;
    const ends = this.#buffer.toString("latin1", at + FIELD.path, at + FIELD.source + PORT);
    return ends + this.#buffer.toString("latin1", at + FIELD.asked, at + FIELD.openedNs);
  }

  get sourcePort(): number {
    return this.#view.getUint16(this.#at + FIELD.source + PORT, true);
  }

  /** CLOCK_BOOTTIME in ms with fraction. */
  get openedMs(): number {
    return this.#u64(FIELD.openedNs) / 1e6;
  }

  get closedMs(): number {
    return this.#u64(FIELD.closedNs) / 1e6;
  }

  get requestBytes(): number {
    return this.#u64(FIELD.requestBytes);
  }

  get responseBytes(): number {
    return this.#u64(FIELD.responseBytes);
  }

  /** 0: none was measured. */
  get srttUs(): number {
    return this.#u32(FIELD.srttUs);
  }

  get retransmits(): number {
    return this.#u32(FIELD.retransmits);
  }

  get reason(): Reason {
    return REASON_BY_NUMBER[this.#u32(FIELD.reason)] ?? "internal";
  }

  get established(): boolean {
    return (this.#u32(FIELD.flags) & ESTABLISHED) !== 0;
  }

  get express(): boolean {
    return (this.#u32(FIELD.flags) & EXPRESS) !== 0;
  }

  get redirected(): boolean {
    return (this.#u32(FIELD.flags) & REDIRECTED) !== 0;
  }

  /** Of an open connection only the acceptor's end is left; the initiator's has made the record. */
  get orphan(): boolean {
    return (this.#u32(FIELD.flags) & ORPHAN) !== 0;
  }

  get sourcePod(): NetnsCookie {
    return this.#view.getBigUint64(this.#at + FIELD.srcNetns, true);
  }

  get destinationPod(): NetnsCookie {
    return this.#view.getBigUint64(this.#at + FIELD.dstNetns, true);
  }

  /** Who talks to whom; undefined on a path that this agent does not know. */
  record(): DirectRecord | undefined {
    const { path } = this;
    if (path === undefined) return undefined;
    return {
      path,
      sourcePod: this.sourcePod,
      destinationPod: this.destinationPod,
      source: this.#address(FIELD.source),
      asked: this.#address(FIELD.asked),
      destination: this.#address(FIELD.destination),
    };
  }

  #u32(field: number): number {
    return this.#view.getUint32(this.#at + field, true);
  }

  /** Exact up to 2^53, which are 104 days in nanoseconds; beyond that a few are lost. */
  #u64(field: number): number {
    const at = this.#at + field;
    return this.#view.getUint32(at + 4, true) * 0x1_0000_0000 + this.#view.getUint32(at, true);
  }

  #address(field: number): SocketAddress {
    const at = this.#at + field;
    return { ip: ipFromBytes(this.#buffer.subarray(at, at + 16)), port: this.#view.getUint16(at + PORT, true) };
  }
}
