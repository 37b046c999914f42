/** Where events of connections that BPF handled alone become sums and log lines: up to 20,000 a second, on one thread. */
import { type LogRoot, timestamp } from "#lib/log.ts";
import { type Reason, responseFlag } from "#lib/reasons.ts";
import { EventClock } from "../direct/event-clock.ts";
import { type DirectRecord, EVENT_DENIED, EVENT_OPEN, EventCursor } from "../direct/event-decoder.ts";
import { ACCESS_SCOPE, endLevel, errorOf } from "./access-log.ts";
import type { DirectAttribution, DirectAttributor } from "./direct-attribution.ts";

export interface DirectTelemetryOptions {
  readonly attributor: DirectAttributor;
  readonly root: LogRoot;
  /** Open connections, as events. */
  readonly connections: () => Uint8Array;
  /** The policy that refused or ended a connection, where one did. */
  readonly policyOf: (record: DirectRecord, reason: Reason) => string | undefined;
  /** A connection that came about in spite of what holds now; the cursor is at it. */
  readonly onDoubtful: (event: EventCursor) => void;
  readonly clock?: EventClock;
}

/** What the kernel means by that: the address is not, or no longer, in the namespace that was approved. */
const STRANGER = "somebody else than the chosen pod answered";

/** Reasons for which a policy is named. */
const OF_POLICY: ReadonlySet<Reason> = new Set(["policy_denied", "policy_changed"]);

export class DirectTelemetry {
  readonly #options: DirectTelemetryOptions;
  readonly #clock: EventClock;

  constructor(options: DirectTelemetryOptions) {
    this.#options = options;
    this.#clock = options.clock ?? new EventClock();
  }

  /** Ended and refused connections. */
  events(bytes: Uint8Array): void {
    const offsetMs = this.#clock.offsetMs();
    const event = new EventCursor(bytes);
    while (event.next()) {
      if (event.kind === EVENT_OPEN) this.#options.onDoubtful(event);
      else this.#ended(event, offsetMs);
    }
  }

  /** Adds what is open now to the live part of the sums; how many there are by reporter. */
  addLive(): { readonly source: number; readonly destination: number } {
    const open = { source: 0, destination: 0 };
    const event = new EventCursor(this.#options.connections());
    while (event.next()) {
      const attribution = event.orphan ? undefined : this.#options.attributor.attribute(event);
      if (attribution === undefined) continue;
      for (const series of attribution.series) series.addLive(event);
      if (attribution.direction !== "inbound") open.source++;
      if (attribution.direction !== "outbound") open.destination++;
    }
    return open;
  }

  #ended(event: EventCursor, offsetMs: number): void {
    const attribution = this.#options.attributor.attribute(event);
    if (attribution === undefined) return;
    const reason = event.kind === EVENT_DENIED ? "policy_denied" : event.reason;
    const flag = responseFlag(reason);
    for (const series of attribution.series) series.addClosed(event, flag);
    const level = endLevel(reason);
    if (!this.#options.root.enabled(ACCESS_SCOPE, level)) return;
    const error = reason === "none" ? undefined : this.#errorOf(event, reason);
    const line = this.#options.root.format === "plain" ? plainLine : jsonLine;
    this.#options.root.writeLine(line(level, event, attribution, error, offsetMs));
  }

  #errorOf(event: EventCursor, reason: Reason): string | undefined {
    if (reason === "identity_error") return errorOf({ reason, detail: STRANGER });
    if (!OF_POLICY.has(reason)) return errorOf({ reason });
    const record = event.record();
    const policy = record === undefined ? undefined : this.#options.policyOf(record, reason);
    return errorOf(policy === undefined ? { reason } : { reason, policy });
  }
}

/** Both forms by hand: they are written thousands of times a second. */
function plainLine(
  level: string,
  event: EventCursor,
  { direction, plainHead, plainMiddle }: DirectAttribution,
  error: string | undefined,
  offsetMs: number,
): string {
  const { closedMs, requestBytes, responseBytes } = event;
  const inbound = direction === "inbound";
  let line = `${timestamp(closedMs + offsetMs)}\t${level}\t${ACCESS_SCOPE}\tconnection complete\t${plainHead}`;
  line += event.sourcePort + plainMiddle;
  line += ` bytes_sent=${inbound ? responseBytes : requestBytes} bytes_recv=${inbound ? requestBytes : responseBytes}`;
  line += ` duration="${Math.round(closedMs - event.openedMs)}ms"`;
  if (direction === "direct") line += ' connection_security_policy="kernel_direct"';
  line += ` srtt_us=${event.srttUs} retransmits=${event.retransmits}`;
  const shortcut = shortcutOf(event);
  if (shortcut !== undefined) line += ` shortcut="${shortcut}"`;
  if (error !== undefined) line += ` error=${JSON.stringify(error)}`;
  return `${line}\n`;
}

function jsonLine(
  level: string,
  event: EventCursor,
  { direction, jsonHead, jsonMiddle }: DirectAttribution,
  error: string | undefined,
  offsetMs: number,
): string {
  const { closedMs, requestBytes, responseBytes } = event;
  const inbound = direction === "inbound";
  let line = `{"level":"${level}","time":"${timestamp(closedMs + offsetMs)}","scope":"${ACCESS_SCOPE}",${jsonHead}`;
  line += event.sourcePort + jsonMiddle;
  line += `,"bytes_sent":${inbound ? responseBytes : requestBytes}`;
  line += `,"bytes_recv":${inbound ? requestBytes : responseBytes}`;
  line += `,"duration":"${Math.round(closedMs - event.openedMs)}ms"`;
  line += `,"srtt_us":${event.srttUs},"retransmits":${event.retransmits}`;
  const shortcut = shortcutOf(event);
  if (shortcut !== undefined) line += `,"shortcut":"${shortcut}"`;
  if (error !== undefined) line += `,"error":${JSON.stringify(error)}`;
  return `${line},"message":"connection complete"}\n`;
}

/** How bytes went, when it was not the ordinary way. */
function shortcutOf(event: EventCursor): "express" | "redirect" | undefined {
  if (event.express) return "express";
  return event.redirected ? "redirect" : undefined;
}
