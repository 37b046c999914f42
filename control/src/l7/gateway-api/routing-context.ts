import type { RetryPolicy } from "#proto/l7_pb.ts";
import type { ServiceLookup } from "../../model/service-lookup.ts";
import type { ClusterNamer, Destination } from "../destination.ts";
import { type BackendRef, type BeginsTls, resolveBackend } from "./backend-ref.ts";
import type { RouteKind } from "./route-facts.ts";

/** What routes are compiled for. */
export interface RoutingContext {
  readonly services: ServiceLookup;
  readonly cluster: ClusterNamer;
  readonly beginsTls: BeginsTls;
  /** For rules that say nothing of retries. */
  readonly defaultRetry?: RetryPolicy | undefined;
}

/** The backend's cluster; empty when the reference leads nowhere. */
export function clusterOf(
  ref: BackendRef,
  kind: RouteKind,
  context: RoutingContext,
  more: Pick<Destination, "session" | "grpc"> = {},
): string {
  const resolved = resolveBackend(ref, kind, context.services, context.beginsTls);
  if (resolved.problem !== undefined) return "";
  const { namespace, hostname } = resolved.definition;
  return context.cluster({ namespace, hostname, port: resolved.port, ...more });
}
