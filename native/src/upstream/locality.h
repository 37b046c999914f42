#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "upstream/cluster_config.h"

namespace weft::upstream {

// Where this process is.
struct Locality {
  std::string region, zone, subzone;
};

// An endpoint's place after locality rules: lower priorities first; weight 0: it gets nothing.
struct Placement {
  uint32_t priority = 0;
  double weight = 1;
};

// One per endpoint, in order. Priorities have no gaps.
std::vector<Placement> Place(const ClusterConfig& config, const std::vector<EndpointConfig>& endpoints,
                             const Locality& own, const std::map<std::string, std::string>& own_labels);

}  // namespace weft::upstream
