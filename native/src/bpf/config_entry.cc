#include "bpf/config_entry.h"

#include <time.h>

#include <algorithm>
#include <iterator>

#include "bpf/program_set.h"

namespace weft {

Status ConfigEntry::Open(const PinPaths& pins) { return OpenMap(config_, pins.Map("weft_config")); }

Status ConfigEntry::ExemptAgent(const Cgroup& agent) const {
  weft_config config = config_.Get(0).value_or(weft_config{});
  if (config.agents[0].cgroup == agent.id) return Ok{};
  // The agent before us may still be draining.
  std::move_backward(std::begin(config.agents), std::end(config.agents) - 1, std::end(config.agents));
  config.agents[0] = {.cgroup = agent.id, ._pad = 0};
  return config_.Set(0, config);
}

Status ConfigEntry::PermitPlain(std::chrono::nanoseconds duration) const {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  const auto since_boot = std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
  weft_config config = config_.Get(0).value_or(weft_config{});
  config.plain_until_ns = static_cast<uint64_t>((since_boot + duration).count());
  return config_.Set(0, config);
}

}  // namespace weft
