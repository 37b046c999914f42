/** Spans on their way to a collector: in batches, one at a time, bounded; what a collector does not take is counted. */
import { errorText, type Logger } from "#lib/log.ts";
import type { Span } from "./span.ts";

export interface SpanSender {
  /** Rejects when the collector has not taken them in time. */
  send(spans: readonly Span[], timeoutMs: number): Promise<void>;
}

export interface SpanQueueOptions {
  /** Held for a collector that is slow or away: a minute of 1,000 requests/s sampled at 10 %. */
  readonly capacity?: number;
  readonly batch?: number;
  readonly flushMs?: number;
  readonly timeoutMs?: number;
}

const CAPACITY = 8192;
const BATCH = 512;
const FLUSH_MS = 1000;
const TIMEOUT_MS = 5000;
/** A collector that is away is away for many batches. */
const LOG_EVERY_MS = 60_000;

export class SpanQueue {
  readonly #sender: SpanSender;
  readonly #log: Logger;
  readonly #address: string;
  readonly #capacity: number;
  readonly #batch: number;
  readonly #timeoutMs: number;
  readonly #timer: NodeJS.Timeout;
  #spans: Span[] = [];
  #sending: Promise<void> | undefined;
  #dropped = 0;
  #sent = 0;
  #loggedAt = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(address: string, sender: SpanSender, log: Logger, options: SpanQueueOptions = {}) {
    this.#address = address;
    this.#sender = sender;
    this.#log = log;
    this.#capacity = options.capacity ?? CAPACITY;
    this.#batch = options.batch ?? BATCH;
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    this.#timer = setInterval(() => this.#pump(), options.flushMs ?? FLUSH_MS);
    this.#timer.unref();
  }

  /** Spans that no collector got: there was no room, or it did not take them. */
  get dropped(): number {
    return this.#dropped;
  }
  get sent(): number {
    return this.#sent;
  }

  add(span: Span): void {
    if (this.#spans.length >= this.#capacity) {
      this.#dropped++;
      return;
    }
    this.#spans.push(span);
    if (this.#spans.length >= this.#batch) this.#pump();
  }

  /** Sends what is left, within one timeout. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    const deadline = performance.now() + this.#timeoutMs;
    await this.#sending;
    while (this.#spans.length > 0) {
      const left = Math.floor(deadline - performance.now());
      if (left <= 0) break;
      await this.#sendBatch(left);
    }
    this.#dropped += this.#spans.length;
    this.#spans = [];
  }

  #pump(): void {
    if (this.#closed || this.#sending !== undefined || this.#spans.length === 0) return;
    this.#sending = this.#sendBatch(this.#timeoutMs).finally(() => {
      this.#sending = undefined;
      if (this.#spans.length >= this.#batch) this.#pump();
    });
  }

  async #sendBatch(timeoutMs: number): Promise<void> {
    const batch = this.#spans.splice(0, this.#batch);
    try {
      await this.#sender.send(batch, timeoutMs);
      this.#sent += batch.length;
    } catch (error) {
      this.#dropped += batch.length;
      this.#complain(error);
    }
  }

  #complain(error: unknown): void {
    const now = performance.now();
    if (now - this.#loggedAt < LOG_EVERY_MS) return;
    this.#loggedAt = now;
    this.#log.warn("spans not taken", { collector: this.#address, dropped: this.#dropped, error: errorText(error) });
  }
}
