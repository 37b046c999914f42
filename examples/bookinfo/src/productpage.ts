import type { IncomingMessage } from "node:http";
import { DEFAULT_URLS, type Env } from "./env.ts";
import type { Handler } from "./http-service.ts";
import { productPage } from "./product-page-html.ts";
import { type ServedBy, servedBy } from "./served-by.ts";
import { traceHeaders } from "./trace-headers.ts";
import { getJson, type Reply } from "./upstream.ts";

/** All that is known of one product; `details` and `reviews` are there with their errors too. */
export interface Product {
  readonly id: number;
  readonly details: Reply;
  readonly reviews: Reply;
  readonly servedBy: ServedBy;
}

/** `/productpage` (HTML of product 0) and `/api/v1/products/<id>` (the same as JSON). */
export function productpageHandler(env: Env): Handler {
  return async (path, request) => {
    if (path === "/" || path === "/productpage") {
      return { status: 200, body: productPage(await product(env, 0, request)) };
    }
    const id = /^\/api\/v1\/products\/(\d+)$/.exec(path)?.[1];
    if (id === undefined) return undefined;
    return { status: 200, body: await product(env, Number(id), request) };
  };
}

async function product(env: Env, id: number, request: IncomingMessage): Promise<Product> {
  const headers = traceHeaders(request.headers);
  const from = servedBy(env, request);
  const [details, reviews] = await Promise.all([
    getJson(`${env.DETAILS_URL ?? DEFAULT_URLS.details}/details/${id}`, headers),
    getJson(`${env.REVIEWS_URL ?? DEFAULT_URLS.reviews}/reviews/${id}`, headers),
  ]);
  return { id, details, reviews, servedBy: from };
}
