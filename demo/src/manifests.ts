/** What the demo and the wide tests deploy. */
import { readFileSync } from "node:fs";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");

export const MANIFESTS = {
  bookinfo: read("../../examples/bookinfo/bookinfo.yaml"),
  clients: read("../clients.yaml"),
  strict: read("../../examples/bookinfo/policies/strict.yaml"),
  ratingsNotForReviews: read("../../examples/bookinfo/policies/ratings-not-for-reviews.yaml"),
} as const;
