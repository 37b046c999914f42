import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { detailsHandler } from "./details.ts";
import type { Env } from "./env.ts";
import { type Handler, type RunningService, startService } from "./http-service.ts";
import { productpageHandler } from "./productpage.ts";
import { ratingsHandler } from "./ratings.ts";
import { reviewsHandler } from "./reviews.ts";
import { traceHeaders } from "./trace-headers.ts";

const running: RunningService[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((service) => service.stop()));
});

async function start(handler: Handler): Promise<string> {
  const service = await startService(0, handler);
  running.push(service);
  return `http://127.0.0.1:${service.port}`;
}

async function startAll(version: string): Promise<string> {
  const ratings = await start(ratingsHandler({ POD_NAME: "ratings-1" }));
  const reviews = await start(
    reviewsHandler({ SERVICE_VERSION: version, RATINGS_URL: ratings, POD_NAME: "reviews-1" }),
  );
  const details = await start(detailsHandler({ POD_NAME: "details-1" }));
  return start(productpageHandler({ DETAILS_URL: details, REVIEWS_URL: reviews, POD_NAME: "productpage-1" }));
}

const json = async (url: string): Promise<unknown> => (await fetch(url)).json();

describe("bookinfo", () => {
  it("productpage joins details and reviews and says which pods answered", async () => {
    expect(await json(`${await startAll("v1")}/api/v1/products/0`)).toMatchObject({
      id: 0,
      details: { ok: true, body: { title: "The Comedy of Errors", servedBy: { pod: "details-1" } } },
      reviews: { ok: true, body: { servedBy: { pod: "reviews-1", version: "v1", client: "127.0.0.1" } } },
      servedBy: { pod: "productpage-1" },
    });
  });

  it("reviews v1 asks nobody, v2 shows black stars and v3 red ones", async () => {
    const colours = [];
    for (const version of ["v1", "v2", "v3"]) {
      const page = (await json(`${await startAll(version)}/api/v1/products/0`)) as {
        reviews: { body: { reviews: { rating?: { colour: string } }[] } };
      };
      colours.push(page.reviews.body.reviews[0]?.rating?.colour);
    }
    expect(colours).toEqual([undefined, "black", "red"]);
  });

  it("a page without its ratings is still a page and names what failed", async () => {
    const reviews = await start(reviewsHandler({ SERVICE_VERSION: "v2", RATINGS_URL: "http://127.0.0.1:1" }));
    const env: Env = { REVIEWS_URL: reviews, DETAILS_URL: "http://127.0.0.1:1" };
    const page = await start(productpageHandler(env));
    expect(await json(`${page}/api/v1/products/0`)).toMatchObject({
      details: { ok: false, error: expect.stringContaining("127.0.0.1:1") },
      reviews: { ok: true, body: { reviews: [{ rating: { error: "ratings are not available" } }, {}] } },
    });
    const html = await (await fetch(`${page}/productpage`)).text();
    expect(html).toContain("ratings are not available");
    expect(html).toContain('class="error"');
  });

  it("the page shows the stars", async () => {
    const html = await (await fetch(`${await startAll("v3")}/productpage`)).text();
    expect(html).toContain('<span class="red">★★★★★</span>');
  });

  it("trace headers reach the last service", async () => {
    let seen: IncomingHttpHeaders = {};
    const ratings = createServer((request, response) => {
      seen = request.headers;
      response.end('{"ratings":{}}');
    });
    await new Promise<void>((resolve) => ratings.listen(0, "127.0.0.1", resolve));
    const ratingsUrl = `http://127.0.0.1:${(ratings.address() as AddressInfo).port}`;
    const reviews = await start(reviewsHandler({ SERVICE_VERSION: "v3", RATINGS_URL: ratingsUrl }));
    const page = await start(productpageHandler({ REVIEWS_URL: reviews, DETAILS_URL: reviews }));
    const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    await fetch(`${page}/productpage`, {
      headers: { "x-request-id": "r1", traceparent, "x-b3-traceid": "t", other: "x" },
    });
    expect(seen).toMatchObject({ "x-request-id": "r1", traceparent, "x-b3-traceid": "t" });
    expect(seen).not.toHaveProperty("other");
    await new Promise((resolve) => ratings.close(resolve));
  });

  it("readiness turns false before the port closes, open requests are finished", async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const service = await startService(0, async () => {
      await held;
      return { status: 200, body: { done: true } };
    });
    const url = `http://127.0.0.1:${service.port}`;
    expect((await fetch(`${url}/healthz/ready`)).status).toBe(200);
    const open = fetch(`${url}/slow`);
    await expect.poll(() => fetch(`${url}/healthz/live`).then((r) => r.status)).toBe(200);
    const stopped = service.stop();
    release();
    expect(await (await open).json()).toEqual({ done: true });
    await stopped;
    await expect(fetch(`${url}/healthz/ready`)).rejects.toThrow();
  });

  it("unknown paths are 404, other methods 405, a handler's failure 500", async () => {
    const url = await start((path) => {
      if (path === "/throws") throw new Error("broken");
      return undefined;
    });
    expect((await fetch(`${url}/none`)).status).toBe(404);
    expect((await fetch(`${url}/none`, { method: "POST" })).status).toBe(405);
    expect((await fetch(`${url}/throws`)).status).toBe(500);
  });
});

describe("traceHeaders", () => {
  it("keeps the first of a repeated header", () => {
    expect(traceHeaders({ b3: ["1", "2"] as unknown as string, host: "x" })).toEqual({ b3: "1" });
  });
});
