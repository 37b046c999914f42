/** Which endpoints of a service a client may be given: locality and mode, as ambient does it. */
import type { Scope, Service, Workload } from "../state/model.ts";

/** Keeps the candidates of the best rank (failover), those that match wholly (strict), or all. */
export function selectByLocality<T extends { readonly workload: Workload }>(
  service: Service,
  source: Workload,
  candidates: readonly T[],
): readonly T[] {
  const { mode, preferences } = service;
  if (mode === "strict") {
    return candidates.filter(({ workload }) => preferences.every((scope) => matches(scope, source, workload)));
  }
  if (mode !== "failover") return candidates;
  let best = -1;
  let kept: T[] = [];
  for (const candidate of candidates) {
    const rank = localityRank(preferences, source, candidate.workload);
    if (rank > best) {
      best = rank;
      kept = [];
    }
    if (rank === best) kept.push(candidate);
  }
  return kept;
}

/**
 * Length of the longest matching prefix of the preferences. When the first one is the network, a match of it
 * outweighs all others, and a mismatch does not end the comparison: a remote endpoint in our zone still beats one
 * in another.
 */
export function localityRank(preferences: readonly Scope[], source: Workload, workload: Workload): number {
  let rank = 0;
  for (const [index, scope] of preferences.entries()) {
    const leadingNetwork = index === 0 && scope === "network";
    if (matches(scope, source, workload)) rank += leadingNetwork ? preferences.length : 1;
    else if (!leadingNetwork) break;
  }
  return rank;
}

function matches(scope: Scope, a: Workload, b: Workload): boolean {
  switch (scope) {
    case "region":
      return a.locality.region === b.locality.region;
    case "zone":
      return a.locality.zone === b.locality.zone;
    case "subzone":
      return a.locality.subzone === b.locality.subzone;
    case "node":
      return a.node === b.node;
    case "cluster":
      return a.clusterId === b.clusterId;
    case "network":
      return a.network === b.network;
  }
}
