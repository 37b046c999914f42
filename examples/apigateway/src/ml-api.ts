/** A small machine-learning API: `/predict` scores numbers, `/upload` takes files of any size and says what it got. */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** JSON bodies above this are no numbers to score. */
const MAX_PREDICT_BYTES = 64 * 1024;

export interface MlApi {
  readonly port: number;
  stop(): Promise<void>;
}

/** `role`: "api", "upload" or "predict": which part this pod plays. Port 0 picks a free one. */
export async function startMlApi(role: string, port: number): Promise<MlApi> {
  const server = createServer((request, response) => {
    void answer(role, request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else send(response, 400, { error: error instanceof Error ? error.message : String(error) });
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "::", resolve);
  });
  return { port: (server.address() as AddressInfo).port, stop: () => close(server) };
}

async function answer(role: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = new URL(request.url ?? "/", "http://service").pathname;
  if (path.startsWith("/healthz")) return send(response, 200, { ready: true });
  if (role === "upload") return upload(request, response);
  if (role === "predict") return predict(request, response);
  return send(response, 200, { role, path });
}

/** Never holds more than one chunk. */
async function upload(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  send(response, 200, { role: "upload", bytes, sha256: hash.digest("hex") });
}

async function predict(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_PREDICT_BYTES) return send(response, 413, { error: `more than ${MAX_PREDICT_BYTES} bytes` });
    chunks.push(chunk);
  }
  const { features } = JSON.parse(Buffer.concat(chunks).toString() || "{}") as { features?: unknown };
  if (!Array.isArray(features) || !features.every((each) => typeof each === "number")) {
    return send(response, 422, { error: "features must be a list of numbers" });
  }
  const score = features.reduce((sum: number, each: number) => sum + each, 0) / Math.max(features.length, 1);
  send(response, 200, { role: "predict", score });
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
}
