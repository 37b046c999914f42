/** `struct weft_event` of bpf/include/weft_abi.h, read by the tests' own decoder so that the agent's is not its own judge. */
import { REASONS, type Reason } from "#lib/reasons.ts";

export interface WeftEvent {
  readonly kind: "open" | "closed" | "denied";
  readonly path: "direct" | "plain-out" | "plain-in";
  /** Netns cookies in decimal, "0" for no pod of ours. */
  readonly sourcePod: string;
  readonly destinationPod: string;
  /** `ip:port` or `[ip]:port`. */
  readonly source: string;
  readonly asked: string;
  readonly destination: string;
  readonly openedNs: bigint;
  readonly durationNs: bigint;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly srttUs: number;
  readonly retransmits: number;
  readonly endpoint: number;
  readonly reason: Reason;
  readonly established: boolean;
  readonly stranger: boolean;
}

export const WEFT_EVENT_BYTES = 152;

const KINDS = ["", "open", "closed", "denied"] as const;
const PATHS = ["", "direct", "plain-out", "plain-in"] as const;
const ESTABLISHED = 1;
const STRANGER = 8;
const REASON_BY_NUMBER = new Map<number, Reason>(
  Object.entries(REASONS).map(([label, [number]]) => [number, label as Reason]),
);

export function decodeEvents(bytes: Buffer): WeftEvent[] {
  if (bytes.length % WEFT_EVENT_BYTES !== 0) throw new Error(`${bytes.length} bytes are no whole events`);
  return Array.from({ length: bytes.length / WEFT_EVENT_BYTES }, (_, i) =>
    decodeEvent(bytes.subarray(i * WEFT_EVENT_BYTES, (i + 1) * WEFT_EVENT_BYTES)),
  );
}

function decodeEvent(bytes: Buffer): WeftEvent {
  const flags = bytes.readUInt32LE(144);
  return {
    kind: oneOf(KINDS, bytes.readUInt32LE(0)),
    path: oneOf(PATHS, bytes.readUInt32LE(4)),
    sourcePod: String(bytes.readBigUInt64LE(8)),
    destinationPod: String(bytes.readBigUInt64LE(16)),
    source: address(bytes.subarray(24, 48)),
    asked: address(bytes.subarray(48, 72)),
    destination: address(bytes.subarray(72, 96)),
    openedNs: bytes.readBigUInt64LE(96),
    durationNs: bytes.readBigUInt64LE(104) - bytes.readBigUInt64LE(96),
    requestBytes: Number(bytes.readBigUInt64LE(112)),
    responseBytes: Number(bytes.readBigUInt64LE(120)),
    srttUs: bytes.readUInt32LE(128),
    retransmits: bytes.readUInt32LE(132),
    endpoint: bytes.readUInt32LE(136),
    reason: REASON_BY_NUMBER.get(bytes.readUInt32LE(140)) ?? fail("unknown reason"),
    established: (flags & ESTABLISHED) !== 0,
    stranger: (flags & STRANGER) !== 0,
  };
}

function address(bytes: Buffer): string {
  const port = bytes.readUInt16LE(16);
  if (bytes.readBigUInt64BE(0) === 0n && bytes.readUInt32BE(8) === 0xffff) {
    return `${[...bytes.subarray(12, 16)].join(".")}:${port}`;
  }
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16)).join(":");
  // The URL parser writes IPv6 in its canonical form, brackets included.
  return `${new URL(`http://[${groups}]/`).hostname}:${port}`;
}

function oneOf<const T extends readonly string[]>(names: T, number: number): Exclude<T[number], ""> {
  const name = names[number];
  if (!name) return fail(`unknown number ${number}`);
  return name as Exclude<T[number], "">;
}

function fail(what: string): never {
  throw new Error(`${what} in a struct weft_event`);
}
