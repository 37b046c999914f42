/** Bodies that are larger than the waypoint may become, on the ways of examples/apigateway. */
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Backend } from "./backend.ts";
import { NAMESPACE, WaypointChain } from "./chain.ts";

const ROUTES = join(import.meta.dirname, "../../examples/apigateway/routes.yaml");
const SIZE = 256 * 1024 * 1024;
const PIECE = Buffer.alloc(64 * 1024, "x");
/** What a request may take: windows of tunnels and sockets, and what the allocator holds on to. */
const MEMORY = 48 * 1024 * 1024;

function* pieces() {
  for (let sent = 0; sent < SIZE; sent += PIECE.length) yield PIECE;
}

describe("a body of 256 MB", () => {
  let chain: WaypointChain;
  let upload: Backend;
  beforeAll(async () => {
    chain = await WaypointChain.start();
    for (const name of ["api", "upload", "predict"]) {
      chain.service(name);
      await chain.pod(`${name}-1`, name);
    }
    upload = chain.backends.get("upload-1") as Backend;
    chain.apply(readFileSync(ROUTES, "utf8").replaceAll("namespace: ml", `namespace: ${NAMESPACE}`));
    await chain.until(({ body }) => body.includes("upload-1"), "http://api/upload");
    await chain.until(({ body }) => body.includes("predict-1"), "http://api/predict");
  });
  afterAll(() => chain?.stop());

  it("streams to a server through a waypoint that keeps its size", async () => {
    let received = 0;
    upload.handler = (incoming, response) => {
      incoming.on("data", (piece: Buffer) => {
        received += piece.length;
      });
      incoming.on("end", () => response.end(String(received)));
    };
    const before = chain.waypoint.peakBytes();
    const stream = await chain.open("api");
    const outgoing = request("http://api/upload", { method: "POST", createConnection: () => stream });
    const answer = new Promise<string>((resolve, reject) => {
      outgoing.on("error", reject);
      outgoing.on("response", async (response) => {
        let text = "";
        for await (const piece of response.setEncoding("utf8")) text += piece;
        resolve(text);
      });
    });
    await pipeline(Readable.from(pieces(), { objectMode: false }), outgoing);
    expect(await answer).toBe(String(SIZE));
    expect(chain.waypoint.peakBytes() - before).toBeLessThan(MEMORY);
    stream.destroy();
  });

  it("streams to a client just so", async () => {
    upload.handler = (_, response) => void Readable.from(pieces(), { objectMode: false }).pipe(response);
    const before = chain.waypoint.peakBytes();
    const stream = await chain.open("api");
    const received = await new Promise<number>((resolve, reject) => {
      const outgoing = request("http://api/upload/back", { createConnection: () => stream });
      outgoing.on("error", reject);
      outgoing.on("response", (response) => {
        let bytes = 0;
        response.on("data", (piece: Buffer) => {
          bytes += piece.length;
        });
        response.on("end", () => resolve(bytes));
      });
      outgoing.end();
    });
    expect(received).toBe(SIZE);
    expect(chain.waypoint.peakBytes() - before).toBeLessThan(MEMORY);
    stream.destroy();
  });
});
