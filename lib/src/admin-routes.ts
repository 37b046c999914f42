/** What the small HTTP servers of every process answer: log levels, the end, figures, metrics, readiness. */
import type { IncomingMessage } from "node:http";
import { type Routes, respond } from "#lib/http-listener.ts";
import type { LogRoot } from "#lib/log.ts";
import type { MetricsPage } from "#lib/metrics.ts";
import type { Readiness } from "#lib/readiness.ts";
import { VERSION } from "#lib/version.ts";

/** `quit` starts the drain. */
export function processRoutes(log: LogRoot, quit: (reason: string) => void): Routes {
  return {
    "GET /logging": (_request, response) => respond(response, 200, `${log.filter}\n`),
    "POST /logging": (request, response, url) => {
      if (!sameOrigin(request)) return respond(response, 403, "a web page of another origin may not do this\n");
      // ztunnel takes levels with and without a name: ?level=debug, ?access=debug.
      const parts = [...url.searchParams].filter(([key]) => key !== "reset");
      try {
        if (url.searchParams.has("reset")) log.resetFilter();
        if (parts.length > 0) log.setFilter(parts.map(([key, v]) => (key === "level" ? v : `${key}=${v}`)).join(","));
      } catch (error) {
        return respond(response, 400, `${(error as Error).message}\n`);
      }
      return respond(response, 200, `${log.filter}\n`);
    },
    "POST /quitquitquit": (request, response) => {
      if (!sameOrigin(request)) return respond(response, 403, "a web page of another origin may not do this\n");
      respond(response, 200, "shutdown now\n");
      return quit("POST /quitquitquit");
    },
    "GET /version": (_request, response) =>
      respond(response, 200, `${JSON.stringify({ version: VERSION })}\n`, "application/json"),
    "GET /debug": (_request, response) => {
      const figures = { memory: process.memoryUsage(), cpu: process.cpuUsage(), uptimeSeconds: process.uptime() };
      respond(response, 200, `${JSON.stringify(figures, null, 2)}\n`, "application/json");
    },
  };
}

export function metricsRoutes(page: MetricsPage): Routes {
  const handler = (request: IncomingMessage, response: Parameters<typeof page.handle>[1]) =>
    page.handle(request, response);
  return { "GET /metrics": handler, "GET /stats/prometheus": handler };
}

export function readinessRoutes(readiness: Readiness): Routes {
  return {
    "GET /healthz/ready": (_request, response) => {
      if (readiness.ready) respond(response, 200, "ready\n");
      else respond(response, 500, `not ready, pending: ${readiness.pending().join(", ")}\n`);
    },
  };
}

/** A browser on the node names the page's origin; tools do not. */
export function sameOrigin(request: IncomingMessage): boolean {
  return request.headers.origin === undefined;
}
