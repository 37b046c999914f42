#pragma once

#include <chrono>

#include "base/result.h"
#include "bpf/cgroup.h"
#include "bpf/pinned_map.h"
#include "weft_abi.h"

namespace weft {

struct PinPaths;

// weft_config: who the agent is and what it permits for the time being. One thread.
class ConfigEntry {
 public:
  Status Open(const PinPaths& pins);
  // Tasks in this cgroup and below are the agent from now on, beside those of the one before.
  Status ExemptAgent(const Cgroup& agent) const;
  // Lets connections to WEFT_ENDPOINT_PLAIN out for that long from now.
  Status PermitPlain(std::chrono::nanoseconds duration) const;

 private:
  PinnedMap<uint32_t, weft_config> config_;
};

}  // namespace weft
