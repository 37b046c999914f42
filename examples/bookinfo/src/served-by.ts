import type { IncomingMessage } from "node:http";
import { hostname } from "node:os";
import type { Env } from "./env.ts";

/** Who answered, and whom it saw asking: shows which pod a balanced request reached and that addresses are real. */
export interface ServedBy {
  readonly pod: string;
  readonly version: string;
  readonly client: string;
}

/** `POD_NAME` comes from the Deployment; outside Kubernetes the host's name stands in. */
export function servedBy(env: Env, request: IncomingMessage): ServedBy {
  return {
    pod: env.POD_NAME ?? hostname(),
    version: env.SERVICE_VERSION ?? "v1",
    client: request.socket.remoteAddress?.replace(/^::ffff:/, "") ?? "",
  };
}
