#pragma once

#include <atomic>
#include <cstdint>

#include "upstream/cluster_config.h"

// What loops count together. Limits and ejections are of the process, and loops see the same endpoints: a count of its
// own in each loop would let N times as much through, and would eject an endpoint N times as late.
namespace weft::upstream {

struct ClusterCounters {
  std::atomic<uint32_t> connections{0}, pending{0}, requests{0}, retries{0};
  // When the last of all ejections ends: nobody is out from then on, and nobody needs to look.
  std::atomic<uint64_t> ejections_until_ms{0};
  // Held by the loop that decides about an ejection, so that two do not eject one endpoint too many.
  std::atomic_flag ejecting = ATOMIC_FLAG_INIT;
};

// Counts one more unless that would be above `limit` (0: none).
inline bool TakeOne(std::atomic<uint32_t>& counter, uint32_t limit) {
  const uint32_t before = counter.fetch_add(1, std::memory_order_relaxed);
  if (limit == 0 || before < limit) return true;
  counter.fetch_sub(1, std::memory_order_relaxed);
  return false;
}
inline void GiveOne(std::atomic<uint32_t>& counter) { counter.fetch_sub(1, std::memory_order_relaxed); }

// One endpoint's health and load; lives while any loop knows the endpoint.
struct EndpointHealth {
  // CLOCK_MONOTONIC ms when it came into its cluster; never changed.
  uint64_t since_ms = 0;
  std::atomic<uint32_t> active_requests{0};
  std::atomic<uint32_t> consecutive_5xx{0}, consecutive_gateway{0}, consecutive_local{0};
  // Its ejections, less one for each sweep since that found it well.
  std::atomic<uint32_t> times_ejected{0};
  // CLOCK_MONOTONIC ms; 0: never ejected.
  std::atomic<uint64_t> ejected_until_ms{0};

  bool healthy(uint64_t now_ms) const {
    const uint64_t until = ejected_until_ms.load(std::memory_order_relaxed);
    return until == 0 || now_ms >= until;
  }
};

}  // namespace weft::upstream
