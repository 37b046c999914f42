/** Collectors by cluster: Telemetries that name the same one share its queue. */
import type { Logger } from "#lib/log.ts";
import type { Tracing } from "#proto/l7_pb.ts";
import type { CallCluster } from "./collector.ts";
import { otlpSender } from "./otlp.ts";
import type { RequestRecord } from "./records.ts";
import { compileSpans, type ProxyFacts } from "./span.ts";
import { SpanQueue } from "./span-queue.ts";
import { zipkinSender } from "./zipkin.ts";

export class SpanReporter {
  readonly #call: CallCluster;
  readonly #proxy: ProxyFacts;
  readonly #log: Logger;
  #queues = new Map<string, SpanQueue>();
  /** Of queues that are gone. */
  #dropped = 0;
  #sent = 0;

  constructor(call: CallCluster, proxy: ProxyFacts, log: Logger) {
    this.#call = call;
    this.#proxy = proxy;
    this.#log = log;
  }

  get dropped(): number {
    return [...this.#queues.values()].reduce((sum, { dropped }) => sum + dropped, this.#dropped);
  }
  get sent(): number {
    return [...this.#queues.values()].reduce((sum, { sent }) => sum + sent, this.#sent);
  }

  /** Undefined: spans go nowhere. Throws FormatError for a tag that is no format. */
  reportOf(tracing: Tracing): { readonly key: string; readonly report: (record: RequestRecord) => void } | undefined {
    const { exporter } = tracing;
    if (exporter.case === undefined || tracing.disableSpans) return undefined;
    const spanOf = compileSpans(tracing, this.#proxy);
    const { key, queue } = this.#queueOf(exporter);
    return { key, report: (record) => queue.add(spanOf(record)) };
  }

  /** Ends the queues that no Telemetry uses any more, once they are empty. */
  keep(keys: ReadonlySet<string>): void {
    for (const [key, queue] of this.#queues) if (!keys.has(key)) void this.#end(key, queue);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#queues].map(([key, queue]) => this.#end(key, queue)));
  }

  #queueOf(exporter: Tracing["exporter"] & { case: string }): { key: string; queue: SpanQueue } {
    const { address, path, cluster } = exporter.value;
    const more = exporter.case === "otlp" ? [exporter.value.http, exporter.value.headers] : [];
    const key = JSON.stringify([exporter.case, cluster, address, path, ...more]);
    let queue = this.#queues.get(key);
    if (queue === undefined) {
      const { canonicalService, namespace, ip } = this.#proxy;
      const serviceName = `${canonicalService}.${namespace}`;
      const sender =
        exporter.case === "otlp"
          ? otlpSender(this.#call, exporter.value, serviceName)
          : zipkinSender(this.#call, exporter.value, { serviceName, ip });
      const timeoutMs = exporter.case === "otlp" ? Number(exporter.value.timeoutMs) : 0;
      queue = new SpanQueue(address, sender, this.#log, timeoutMs === 0 ? {} : { timeoutMs });
      this.#queues.set(key, queue);
    }
    return { key, queue };
  }

  async #end(key: string, queue: SpanQueue): Promise<void> {
    this.#queues.delete(key);
    await queue.close();
    this.#dropped += queue.dropped;
    this.#sent += queue.sent;
  }
}
