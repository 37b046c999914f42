#pragma once

#include "upstream/cluster_catalog.h"

namespace weft::upstream {

// Takes one outcome of an endpoint of `cluster` (which detects outliers) into account, and ejects the endpoint when it
// was one too many. Rules and defaults are Envoy's: an endpoint is out for base time * times ejected, at most 300 s,
// and on until the next sweep; nobody is ejected when more than the allowed share of the cluster would be out, so 10 %
// of fewer than 10 endpoints is nobody.
//
// There is no sweep that runs: sweeps are the multiples of the interval on the monotonic clock, so what they would have
// found can be told whenever somebody asks, and all loops tell the same without a timer or a leader.
void TakeOutcome(const ClusterEntry& cluster, const Outcome& outcome, EndpointHealth& health, uint64_t now_ms);

}  // namespace weft::upstream
