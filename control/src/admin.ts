/** The control plane's admin server, on localhost: who is connected and how far, log level, version. */
import type { Logger } from "pino";
import { sameOrigin } from "#lib/admin-routes.ts";
import { type Routes, respond } from "#lib/http-listener.ts";
import { VERSION } from "#lib/version.ts";
import { programJson } from "./l7/program-json.ts";
import type { ProgramSource } from "./xds/program-source.ts";
import type { ClientSync } from "./xds/stream-state.ts";

export interface AdminOptions {
  readonly replica: string;
  readonly clients: () => readonly ClientSync[];
  readonly leads: () => boolean;
  readonly programs: ProgramSource;
  readonly log: Logger;
}

const LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"];

const INDEX = `weft-control

GET  /debug/syncz      clients, and how far each is
GET  /debug/program    ?gateway=NAMESPACE/NAME: what a waypoint is sent, without private keys
GET  /logging          log level
POST /logging          ?level=debug, or ?reset
GET  /version          version of this process
`;

export function adminRoutes({ replica, clients, leads, programs, log }: AdminOptions): Routes {
  const initialLevel = log.level;
  const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  return {
    "GET /": (_request, response) => respond(response, 200, INDEX),
    "GET /debug/syncz": (_request, response) =>
      respond(
        response,
        200,
        json({ replica, version: VERSION, leads: leads(), clients: clients() }),
        "application/json",
      ),
    "GET /debug/program": async (_request, response, url) => {
      const gateway = url.searchParams.get("gateway") ?? "";
      const tables = await programs.loaded(gateway);
      if (tables === undefined) return respond(response, 404, `there is no waypoint "${gateway}"\n`);
      return respond(response, 200, json(programJson(tables)), "application/json");
    },
    "GET /version": (_request, response) => respond(response, 200, json({ version: VERSION }), "application/json"),
    "GET /logging": (_request, response) => respond(response, 200, `${log.level}\n`),
    "POST /logging": (request, response, url) => {
      if (!sameOrigin(request)) return respond(response, 403, "a web page of another origin may not do this\n");
      const level = url.searchParams.has("reset") ? initialLevel : (url.searchParams.get("level") ?? "");
      if (!LEVELS.includes(level)) return respond(response, 400, `level: one of ${LEVELS.join(", ")}\n`);
      log.level = level;
      return respond(response, 200, `${log.level}\n`);
    },
  };
}
