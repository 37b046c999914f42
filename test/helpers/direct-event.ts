/** `struct weft_event`s as BPF writes them, for what reads them. */
import { ipToBytes } from "#lib/address.ts";
import { REASONS, type Reason } from "#lib/reasons.ts";
import { EVENT_BYTES, EVENT_CLOSED, FIELD } from "../../agent/src/direct/event-decoder.ts";
import type { DirectConnection, SocketAddress } from "../../agent/src/native.ts";

export interface EventFixture extends Partial<DirectConnection> {
  readonly kind?: number;
  readonly asked?: SocketAddress;
  /** CLOCK_BOOTTIME */
  readonly openedNs?: bigint;
  readonly closedNs?: bigint;
  readonly requestBytes?: number;
  readonly responseBytes?: number;
  readonly srttUs?: number;
  readonly retransmits?: number;
  readonly endpoint?: number;
  readonly reason?: Reason;
  /** 1: established, 2: express, 4: redirected. */
  readonly flags?: number;
}

const PATHS = { direct: 1, "plain-out": 2, "plain-in": 3 } as const;

/** One after the other. */
export function directEvents(...fixtures: readonly EventFixture[]): Uint8Array {
  const bytes = new Uint8Array(fixtures.length * EVENT_BYTES);
  for (const [index, fixture] of fixtures.entries()) bytes.set(directEvent(fixture), index * EVENT_BYTES);
  return bytes;
}

function directEvent(fixture: EventFixture): Uint8Array {
  const bytes = new Uint8Array(EVENT_BYTES);
  const view = new DataView(bytes.buffer);
  const u32 = (at: number, value: number) => view.setUint32(at, value, true);
  const u64 = (at: number, value: bigint) => view.setBigUint64(at, value, true);
  const address = (at: number, { ip, port }: SocketAddress) => {
    bytes.set(mapped(ipToBytes(ip)), at);
    view.setUint16(at + 16, port, true);
  };
  const source = fixture.source ?? { ip: "10.0.0.1", port: 40_000 };
  const destination = fixture.destination ?? { ip: "10.0.0.2", port: 8080 };
  u32(FIELD.kind, fixture.kind ?? EVENT_CLOSED);
  u32(FIELD.path, PATHS[fixture.path ?? "direct"]);
  u64(FIELD.srcNetns, fixture.sourcePod ?? 1n);
  u64(FIELD.dstNetns, fixture.destinationPod ?? 2n);
  address(FIELD.source, source);
  address(FIELD.asked, fixture.asked ?? destination);
  address(FIELD.destination, destination);
  u64(FIELD.openedNs, fixture.openedNs ?? 0n);
  u64(FIELD.closedNs, fixture.closedNs ?? 0n);
  u64(FIELD.requestBytes, BigInt(fixture.requestBytes ?? 0));
  u64(FIELD.responseBytes, BigInt(fixture.responseBytes ?? 0));
  u32(FIELD.srttUs, fixture.srttUs ?? 0);
  u32(FIELD.retransmits, fixture.retransmits ?? 0);
  u32(FIELD.endpoint, fixture.endpoint ?? 0);
  u32(FIELD.reason, REASONS[fixture.reason ?? "none"][0]);
  u32(FIELD.flags, fixture.flags ?? 1);
  return bytes;
}

/** IPv4 as v4-mapped. */
function mapped(bytes: Uint8Array): Uint8Array {
  return bytes.length === 16 ? bytes : Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...bytes);
}
