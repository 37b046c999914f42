#include "upstream/outlier.h"

#include <algorithm>

namespace weft::upstream {
namespace {

constexpr uint64_t kMaxEjectionMs = 300'000;

bool IsGatewayError(uint16_t status) { return status == 502 || status == 503 || status == 504; }

// Counts up or starts again; true when the count has reached `limit` (0: never), and starts again then: whether the
// endpoint can be ejected or not, the next ejection needs as many in a row.
bool Count(bool bad, uint32_t limit, std::atomic<uint32_t>& counter) {
  if (limit == 0) return false;
  if (!bad) {
    // All loops read this at every answer: written only when there is something to forget.
    if (counter.load(std::memory_order_relaxed) != 0) counter.store(0, std::memory_order_relaxed);
    return false;
  }
  if (counter.fetch_add(1, std::memory_order_relaxed) + 1 < limit) return false;
  counter.store(0, std::memory_order_relaxed);
  return true;
}

void Eject(const ClusterEntry& cluster, EndpointHealth& health, uint64_t now_ms) {
  const OutlierConfig& config = *cluster.config->outlier;
  const auto out = static_cast<uint64_t>(
      std::ranges::count_if(cluster.endpoints, [&](const auto& each) { return !each->health->healthy(now_ms); }));
  if (100 * (out + 1) > static_cast<uint64_t>(config.max_ejection_percent) * cluster.endpoints.size()) return;
  uint64_t times = health.times_ejected.load(std::memory_order_relaxed);
  const uint64_t returned_ms = health.ejected_until_ms.load(std::memory_order_relaxed);
  if (returned_ms != 0) times -= std::min(times, (now_ms - returned_ms) / config.interval_ms);
  ++times;
  const uint64_t for_ms = std::min(config.base_ejection_ms * times, std::max(kMaxEjectionMs, config.base_ejection_ms));
  const uint64_t sweeps = (now_ms + for_ms + config.interval_ms - 1) / config.interval_ms;
  const uint64_t until_ms = sweeps * config.interval_ms;
  health.times_ejected.store(static_cast<uint32_t>(times), std::memory_order_relaxed);
  health.ejected_until_ms.store(until_ms, std::memory_order_relaxed);
  std::atomic<uint64_t>& latest = cluster.counters->ejections_until_ms;
  latest.store(std::max(latest.load(std::memory_order_relaxed), until_ms), std::memory_order_relaxed);
}

bool TooMany(const OutlierConfig& config, const Outcome& outcome, EndpointHealth& health) {
  if (config.split_local_origin) {
    const bool too_many_local = Count(outcome.local_origin, config.consecutive_local_origin, health.consecutive_local);
    if (outcome.local_origin) return too_many_local;
  }
  // Without the split, what the endpoint did not answer counts as 5xx and gateway error (Envoy maps it to 503).
  const uint16_t status = outcome.local_origin ? 503 : outcome.status;
  const bool bad = config.error_codes.empty()
                       ? status >= 500
                       : std::ranges::find(config.error_codes, status) != config.error_codes.end();
  const bool too_many = Count(bad, config.consecutive_5xx, health.consecutive_5xx);
  const bool too_many_gateway =
      Count(IsGatewayError(status), config.consecutive_gateway_errors, health.consecutive_gateway);
  return too_many || too_many_gateway;
}

}  // namespace

void TakeOutcome(const ClusterEntry& cluster, const Outcome& outcome, EndpointHealth& health, uint64_t now_ms) {
  if (!TooMany(*cluster.config->outlier, outcome, health) || !health.healthy(now_ms)) return;
  // Whoever comes in between leaves it to the next bad answer.
  if (cluster.counters->ejecting.test_and_set(std::memory_order_acquire)) return;
  if (health.healthy(now_ms)) Eject(cluster, health, now_ms);
  cluster.counters->ejecting.clear(std::memory_order_release);
}

}  // namespace weft::upstream
