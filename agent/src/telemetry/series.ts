/** Sums per label set of the standard TCP metrics. */
import type { ConnectionRecord } from "../native.ts";

/** In the order in which every ambient proxy shows them. */
export const TCP_LABELS = [
  "reporter",
  "source_workload",
  "source_canonical_service",
  "source_canonical_revision",
  "source_workload_namespace",
  "source_principal",
  "source_app",
  "source_version",
  "source_cluster",
  "destination_service",
  "destination_service_namespace",
  "destination_service_name",
  "destination_workload",
  "destination_canonical_service",
  "destination_canonical_revision",
  "destination_workload_namespace",
  "destination_principal",
  "destination_app",
  "destination_version",
  "destination_cluster",
  "request_protocol",
  "response_flags",
  "connection_security_policy",
  "source_region",
  "source_zone",
  "destination_region",
  "destination_zone",
] as const;

export type TcpLabels = Record<(typeof TCP_LABELS)[number], string>;

/** What a sum takes of a connection. */
export type Counted = Pick<ConnectionRecord, "requestBytes" | "responseBytes" | "established">;

/** Sums of ended connections, and at a scrape of those that are open as well. */
export class Series {
  /** `response_flags` is `-`. */
  readonly labels: TcpLabels;
  closed = 0;
  sentBytes = 0;
  receivedBytes = 0;
  liveCount = 0;
  liveSent = 0;
  liveReceived = 0;
  /** By response flag. */
  readonly closedByFlag = new Map<string, number>();
  readonly failedByFlag = new Map<string, number>();
  /**
   * What was shown last. A connection that has ended but whose event is still on its way is in neither sum; a counter
   * must not go back for that, since a scraper would take it for a restart.
   */
  #shownOpened = 0;
  #shownSent = 0;
  #shownReceived = 0;

  constructor(labels: TcpLabels) {
    this.labels = labels;
  }

  addClosed(record: Counted, flag: string): void {
    this.closed++;
    this.sentBytes += record.responseBytes;
    this.receivedBytes += record.requestBytes;
    this.closedByFlag.set(flag, (this.closedByFlag.get(flag) ?? 0) + 1);
    if (!record.established) this.failedByFlag.set(flag, (this.failedByFlag.get(flag) ?? 0) + 1);
  }

  addLive(record: Counted): void {
    this.liveCount++;
    this.liveSent += record.responseBytes;
    this.liveReceived += record.requestBytes;
  }

  clearLive(): void {
    this.liveCount = 0;
    this.liveSent = 0;
    this.liveReceived = 0;
  }

  opened(): number {
    this.#shownOpened = Math.max(this.#shownOpened, this.closed + this.liveCount);
    return this.#shownOpened;
  }

  sent(): number {
    this.#shownSent = Math.max(this.#shownSent, this.sentBytes + this.liveSent);
    return this.#shownSent;
  }

  received(): number {
    this.#shownReceived = Math.max(this.#shownReceived, this.receivedBytes + this.liveReceived);
    return this.#shownReceived;
  }
}
