/** Exposition of a prom-client registry in the form that the scraper asks for. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { Registry } from "prom-client";

const OPENMETRICS = /(^|[,\s])application\/openmetrics-text/;
/** Below this a compressed answer is not worth its CPU. */
const MIN_GZIP_BYTES = 1400;

export interface Exposition {
  readonly contentType: string;
  readonly body: string;
}

/** One at a time: the registry's content type decides the form for the whole of one exposition. */
export class MetricsPage {
  readonly #registry: Registry;
  #last: Promise<unknown> = Promise.resolve();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  render(accept: string | undefined): Promise<Exposition> {
    const next = this.#last.then(async () => {
      const open = accept !== undefined && OPENMETRICS.test(accept);
      this.#registry.setContentType(
        (open
          ? Registry.OPENMETRICS_CONTENT_TYPE
          : Registry.PROMETHEUS_CONTENT_TYPE) as typeof Registry.prototype.contentType,
      );
      const body = await this.#registry.metrics();
      return {
        contentType: open ? "application/openmetrics-text;charset=utf-8;version=1.0.0" : "text/plain; charset=utf-8",
        body,
      };
    });
    this.#last = next.catch(() => undefined);
    return next;
  }

  /** Answers one scrape. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const page = await this.render(request.headers.accept);
    const compress = /\bgzip\b/.test(String(request.headers["accept-encoding"] ?? ""));
    response.setHeader("content-type", page.contentType);
    if (!compress || page.body.length < MIN_GZIP_BYTES) {
      response.end(page.body);
      return;
    }
    response.setHeader("content-encoding", "gzip");
    response.end(await promisify(gzip)(page.body));
  }
}
