/** What the demo and the wide tests deploy. */
import { readFileSync } from "node:fs";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");

export const MANIFESTS = {
  bookinfo: read("../../examples/bookinfo/bookinfo.yaml"),
  clients: read("../clients.yaml"),
  strict: read("../../examples/bookinfo/policies/strict.yaml"),
  waypoint: read("../../examples/bookinfo/gateway-api/waypoint.yaml"),
  subsets: read("../../examples/bookinfo/networking/destination-rule-all.yaml"),
  byUser: read("../../examples/bookinfo/networking/virtual-service-reviews-test-v2.yaml"),
  thirds: read("../../examples/bookinfo/networking/virtual-service-reviews-thirds.yaml"),
  fault: read("../../examples/bookinfo/networking/fault-injection-details-v1.yaml"),
  denyWrites: read("../../examples/bookinfo/networking/policy-deny-writes.yaml"),
  ratingsNotForReviews: read("../../examples/bookinfo/policies/ratings-not-for-reviews.yaml"),
} as const;
