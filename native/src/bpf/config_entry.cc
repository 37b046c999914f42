#include "bpf/config_entry.h"

#include <algorithm>
#include <iterator>

#include "base/clock.h"
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
  weft_config config = config_.Get(0).value_or(weft_config{});
  config.plain_until_ns = static_cast<uint64_t>((SinceBoot() + duration).count());
  return config_.Set(0, config);
}

}  // namespace weft
