/** Where connection events become sums and log lines. */
import type { LogRoot } from "#lib/log.ts";
import { responseFlag } from "#lib/reasons.ts";
import type { ConnectionRecord } from "../native.ts";
import { AccessLog } from "./access-log.ts";
import type { Attributor } from "./attribution.ts";
import type { DirectTelemetry } from "./direct-telemetry.ts";

/** The parts of one scrape ask several times; the engine is asked once. */
const REFRESH_MS = 100;

export class Telemetry {
  readonly #attributor: Attributor;
  readonly #accessLog: AccessLog;
  readonly #connections: () => readonly ConnectionRecord[];
  readonly #direct: Pick<DirectTelemetry, "addLive"> | undefined;
  #refreshedAt = Number.NEGATIVE_INFINITY;
  #open = { source: 0, destination: 0 };
  #eventsLost = 0;

  constructor(
    attributor: Attributor,
    root: LogRoot,
    connections: () => readonly ConnectionRecord[],
    direct?: Pick<DirectTelemetry, "addLive">,
  ) {
    this.#attributor = attributor;
    this.#accessLog = new AccessLog(root);
    this.#connections = connections;
    this.#direct = direct;
  }

  closed(record: ConnectionRecord): void {
    const attribution = this.#attributor.attribute(record);
    attribution.series.addClosed(record, responseFlag(record.reason));
    this.#accessLog.write(record, attribution);
  }

  lost(count: number): void {
    this.#eventsLost += count;
  }

  get eventsLost(): number {
    return this.#eventsLost;
  }

  get open(): { readonly source: number; readonly destination: number } {
    return this.#open;
  }

  /** Adds up the connections that are open now. */
  refresh(): void {
    const now = performance.now();
    if (now - this.#refreshedAt < REFRESH_MS) return;
    this.#refreshedAt = now;
    for (const series of this.#attributor.series.values()) series.clearLive();
    const open = { source: 0, destination: 0, ...this.#direct?.addLive() };
    for (const record of this.#connections()) {
      this.#attributor.attribute(record).series.addLive(record);
      if (record.path === "outbound") open.source++;
      else open.destination++;
    }
    this.#open = open;
  }
}
