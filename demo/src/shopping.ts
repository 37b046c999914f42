/** Asking Bookinfo for pages, from a pod. */
import type { Product } from "../../examples/bookinfo/src/productpage.ts";
import type { Stage, StagePod } from "./stage.ts";

export const PRODUCTPAGE = "http://productpage.bookinfo.svc.cluster.local:9080";
const TIMEOUT_SECONDS = 5;

/** What a page said of its parts. */
export interface Page {
  readonly productpagePod: string;
  /** The client address that productpage saw. */
  readonly client: string;
  readonly details: boolean;
  /** Version of the reviews that answered; absent when none did. */
  readonly reviews: string | undefined;
  /** Stars are shown, or refused; absent for reviews that show none. */
  readonly stars: "shown" | "missing" | undefined;
}

/** Gets `count` pages, each over a connection of its own, `requestId` in a header. Pages that failed are left out. */
export async function getPages(stage: Stage, from: StagePod, count: number, requestId: string): Promise<Page[]> {
  const url = `${PRODUCTPAGE}/api/v1/products/[1-${count}]`;
  const headers = ["-H", "Connection: close", "-H", `x-request-id: ${requestId}`];
  const argv = ["curl", "-s", "--max-time", String(TIMEOUT_SECONDS), ...headers, url];
  const { stdout } = await stage.exec(from, argv, count * TIMEOUT_SECONDS * 1000);
  return stdout
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => page(JSON.parse(line) as Product));
}

/** True when `url` answers 200; a refused or reset connection is false. */
export async function answers(stage: Stage, from: StagePod, url: string): Promise<boolean> {
  const argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", String(TIMEOUT_SECONDS), url];
  const { stdout } = await stage.exec(from, argv, TIMEOUT_SECONDS * 2000);
  return stdout.trim() === "200";
}

interface Reviews {
  readonly reviews: readonly { readonly rating?: { readonly stars?: number } }[];
  readonly servedBy: { readonly version: string };
}

function page({ servedBy, details, reviews }: Product): Page {
  const body = reviews.ok ? (reviews.body as Reviews) : undefined;
  const rating = body?.reviews[0]?.rating;
  return {
    productpagePod: servedBy.pod,
    client: servedBy.client,
    details: details.ok,
    reviews: body?.servedBy.version,
    stars: rating === undefined ? undefined : rating.stars === undefined ? "missing" : "shown",
  };
}
