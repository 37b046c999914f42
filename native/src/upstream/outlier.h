#pragma once

#include <cstddef>

#include "upstream/shared_state.h"

namespace weft::upstream {

// Takes one outcome into account, and ejects the endpoint when it was one too many. `endpoints`: of the cluster. Rules
// and defaults are Envoy's: an endpoint is ejected for base time * times ejected, at most 300 s, unless more than the
// allowed share of the cluster would be out; 10 % of fewer than 10 endpoints is nobody.
void TakeOutcome(const OutlierConfig& config, const Outcome& outcome, EndpointHealth& health, ClusterCounters& counters,
                 size_t endpoints, uint64_t now_ms);

// Ends an ejection whose time is over. True: it did.
bool MaybeReturn(EndpointHealth& health, ClusterCounters& counters, uint64_t now_ms);

}  // namespace weft::upstream
