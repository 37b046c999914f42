/** Answers the API server's reviews over TLS. Whatever goes wrong here is told as such, and the API server goes on. */
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import type { Logger } from "pino";
import type { ServingCredentials } from "../ca/serving-credentials.ts";
import type { ListenAddress } from "../config.ts";
import { type Answer, type HttpServer, listenError, plain } from "../http-server.ts";
import { type AdmissionRequest, ALLOWED, type Decision, parseReview, reviewAnswer } from "./review.ts";

export const ADMISSION_PATH = "/validate";

/** An object has 1.5 MiB at most, and a review has two of them. */
const MAX_BODY_BYTES = 8 * 1024 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;
/** API servers keep a few connections each. */
const MAX_CONNECTIONS = 256;

export interface AdmissionServerOptions {
  readonly listen: ListenAddress;
  readonly credentials: ServingCredentials;
  readonly decide: (request: AdmissionRequest) => Decision;
  readonly log: Logger;
}

export async function serveAdmission(options: AdmissionServerOptions): Promise<HttpServer> {
  const { listen, credentials } = options;
  const settings = { ...credentials.context, requestTimeout: REQUEST_TIMEOUT_MS };
  const server = https.createServer(settings, (request, response) => {
    void answer(request, options).then(({ status, contentType, body }) => {
      response.writeHead(status, { "content-type": contentType });
      response.end(body);
    });
  });
  server.maxConnections = MAX_CONNECTIONS;
  const unfollow = credentials.follow((context) => server.setSecureContext(context));
  server.listen({ port: listen.port, ...(listen.host === "" ? {} : { host: listen.host }) });
  await once(server, "listening").catch((error: unknown) => {
    unfollow();
    throw listenError(listen, error);
  });
  return {
    address: server.address() as AddressInfo,
    close: async () => {
      unfollow();
      server.close();
      server.closeAllConnections();
      if (server.listening) await once(server, "close");
    },
  };
}

async function answer(request: IncomingMessage, { decide, log }: AdmissionServerOptions): Promise<Answer> {
  if (request.url?.split("?", 1)[0] !== ADMISSION_PATH) return plain(404, "not found\n");
  if (request.method !== "POST") return plain(405, "only POST\n");
  try {
    const body = await bodyOf(request);
    if (body === undefined) return plain(413, `more than ${MAX_BODY_BYTES} bytes\n`);
    const review = parseReview(body);
    if (review === undefined) return plain(400, "no AdmissionReview of admission.k8s.io/v1\n");
    const decision = review.request === undefined ? ALLOWED : decide(review.request);
    return { status: 200, contentType: "application/json", body: reviewAnswer(review.uid, decision) };
  } catch (error) {
    log.error({ err: error }, "cannot answer an admission review");
    return plain(500, "internal error\n");
  }
}

/** Undefined: too long. */
async function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > MAX_BODY_BYTES) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}
