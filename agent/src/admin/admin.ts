/** The agent's admin server, on localhost. */
import { processRoutes } from "#lib/admin-routes.ts";
import { type Routes, respond } from "#lib/http-listener.ts";
import type { LogRoot } from "#lib/log.ts";
import { configDump, DUMP_PARTS, type DumpSources } from "./config-dump.ts";

export interface AdminOptions {
  readonly dump: DumpSources;
  readonly log: LogRoot;
  /** Starts the drain. */
  readonly quit: (reason: string) => void;
}

const INDEX = `weft-agent

GET  /config_dump      what the agent knows and does; ?only=workloads,services for parts of it
GET  /logging          log levels
POST /logging          ?level=debug, ?level=info,access=debug, or ?reset
POST /quitquitquit     drain and end
GET  /version          version of this process
GET  /debug            memory and process figures
`;

export function adminRoutes({ dump, log, quit }: AdminOptions): Routes {
  return {
    "GET /": (_request, response) => respond(response, 200, INDEX),
    "GET /config_dump": async (_request, response, url) => {
      const only = url.searchParams.get("only")?.split(",") ?? DUMP_PARTS;
      const unknown = only.find((part) => !DUMP_PARTS.includes(part));
      if (unknown !== undefined) {
        return respond(response, 400, `only=${unknown}: there are ${DUMP_PARTS.join(", ")}\n`);
      }
      response.writeHead(200, { "content-type": "application/json" });
      for (const piece of configDump(dump, only)) {
        if (!response.write(piece)) await new Promise((resolve) => response.once("drain", resolve));
        if (response.destroyed) return;
      }
      response.end();
    },
    ...processRoutes(log, quit),
  };
}
