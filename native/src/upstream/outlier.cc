#include "upstream/outlier.h"

#include <algorithm>

namespace weft::upstream {
namespace {

constexpr uint64_t kMaxEjectionMs = 300'000;

bool IsGatewayError(uint16_t status) { return status == 502 || status == 503 || status == 504; }

// Counts up or starts again; true when the count has reached `limit`.
bool Count(bool bad, uint32_t limit, std::atomic<uint32_t>& counter) {
  if (!bad) {
    counter.store(0, std::memory_order_relaxed);
    return false;
  }
  return counter.fetch_add(1, std::memory_order_relaxed) + 1 >= limit && limit != 0;
}

void Eject(const OutlierConfig& config, EndpointHealth& health, ClusterCounters& counters, size_t endpoints,
           uint64_t now_ms) {
  if (!health.healthy(now_ms)) return;
  const uint64_t out = counters.ejected.load(std::memory_order_relaxed);
  if (100 * (out + 1) > static_cast<uint64_t>(config.max_ejection_percent) * endpoints) return;
  const uint32_t times = health.times_ejected.fetch_add(1, std::memory_order_relaxed) + 1;
  const uint64_t for_ms = std::min(config.base_ejection_ms * times, std::max(kMaxEjectionMs, config.base_ejection_ms));
  uint64_t before = health.ejected_until_ms.load(std::memory_order_relaxed);
  // Two loops may see the last straw at once: one of them ejects.
  if (before > now_ms || !health.ejected_until_ms.compare_exchange_strong(before, now_ms + for_ms)) return;
  if (before == 0) counters.ejected.fetch_add(1, std::memory_order_relaxed);
  health.consecutive_5xx.store(0, std::memory_order_relaxed);
  health.consecutive_gateway.store(0, std::memory_order_relaxed);
  health.consecutive_local.store(0, std::memory_order_relaxed);
}

}  // namespace

void TakeOutcome(const OutlierConfig& config, const Outcome& outcome, EndpointHealth& health, ClusterCounters& counters,
                 size_t endpoints, uint64_t now_ms) {
  // Without the split, what the endpoint did not answer counts as 5xx and gateway error (Envoy maps it to 503).
  const bool local = outcome.local_origin;
  if (local && config.split_local_origin) {
    if (Count(true, config.consecutive_local_origin, health.consecutive_local)) {
      Eject(config, health, counters, endpoints, now_ms);
    }
    return;
  }
  if (config.split_local_origin) Count(false, 0, health.consecutive_local);
  const uint16_t status = local ? 503 : outcome.status;
  const bool bad = config.error_codes.empty()
                       ? status >= 500
                       : std::ranges::find(config.error_codes, status) != config.error_codes.end();
  const bool too_many = Count(bad, config.consecutive_5xx, health.consecutive_5xx);
  const bool too_many_gateway =
      Count(IsGatewayError(status), config.consecutive_gateway_errors, health.consecutive_gateway);
  if (too_many || too_many_gateway) Eject(config, health, counters, endpoints, now_ms);
}

bool MaybeReturn(EndpointHealth& health, ClusterCounters& counters, uint64_t now_ms) {
  uint64_t until = health.ejected_until_ms.load(std::memory_order_relaxed);
  if (until == 0 || now_ms < until || !health.ejected_until_ms.compare_exchange_strong(until, 0)) return false;
  counters.ejected.fetch_sub(1, std::memory_order_relaxed);
  return true;
}

}  // namespace weft::upstream
