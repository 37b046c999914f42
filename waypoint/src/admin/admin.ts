/** The waypoint's admin server, on localhost. */
import { processRoutes, sameOrigin } from "#lib/admin-routes.ts";
import { type Routes, respond } from "#lib/http-listener.ts";
import type { LogRoot } from "#lib/log.ts";
import type { L7EngineStats } from "../native.ts";

export interface AdminOptions {
  readonly dump: () => Record<string, unknown>;
  readonly stats: () => L7EngineStats;
  readonly log: LogRoot;
  /** Starts the drain, and the end after it. */
  readonly quit: (reason: string) => void;
}

const INDEX = `weft-waypoint

GET  /config_dump      the program in force and what was refused
GET  /clusters         endpoints: requests, connections, ejections
GET  /stats            connections, requests, memory
GET  /logging          log levels
POST /logging          ?level=debug, ?level=info,access=debug, or ?reset
POST /drain            stop accepting, let what is open end, then end
POST /quitquitquit     the same
GET  /version          version of this process
GET  /debug            memory and process figures
`;

export function adminRoutes({ dump, stats, log, quit }: AdminOptions): Routes {
  return {
    "GET /": (_request, response) => respond(response, 200, INDEX),
    "GET /config_dump": (_request, response) =>
      respond(response, 200, `${JSON.stringify(dump(), null, 2)}\n`, "application/json"),
    "GET /clusters": (_request, response) => respond(response, 200, clustersText(stats())),
    "GET /stats": (_request, response) => {
      const { clusters: _, ...figures } = stats();
      respond(response, 200, `${JSON.stringify(figures, null, 2)}\n`, "application/json");
    },
    "POST /drain": (request, response) => {
      if (!sameOrigin(request)) return respond(response, 403, "a web page of another origin may not do this\n");
      respond(response, 200, "draining\n");
      return quit("POST /drain");
    },
    ...processRoutes(log, quit),
  };
}

/** In the form of Envoy's page, which people's eyes and scripts know. */
function clustersText({ clusters }: L7EngineStats): string {
  const lines: string[] = [];
  for (const { name, endpoints } of clusters) {
    for (const { address, activeRequests, connections, ejected } of endpoints) {
      const prefix = `${name}::${address}::`;
      lines.push(`${prefix}cx_active::${connections}`, `${prefix}rq_active::${activeRequests}`);
      lines.push(`${prefix}health_flags::${ejected ? "/failed_outlier_check" : "healthy"}`);
    }
  }
  return lines.map((line) => `${line}\n`).join("");
}
