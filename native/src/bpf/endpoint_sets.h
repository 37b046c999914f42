#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "bpf/direct_maps.h"
#include "weft_abi.h"

namespace weft {

// The sets of endpoints in weft_endpoints. A set is written once and never changed; routes with the same endpoints
// share one, so that a hundred pods that talk to a service of a thousand endpoints cost a thousand slots.
class EndpointSets {
 public:
  EndpointSets(DirectMaps& maps, size_t max_slots) : maps_(maps), max_slots_(max_slots) {}

  // Takes over the sets of these routes. Routes whose set is not whole are removed, and so are slots of no route.
  void Adopt(std::span<const std::pair<weft_route_key, weft_route>> routes);
  bool Has(uint32_t set) const { return sets_.contains(set); }
  // A set of exactly these slots, complete on return, held until Release. On an error nothing is left behind. ENOSPC:
  // it does not fit.
  Result<uint32_t> Hold(std::span<const weft_endpoint> slots);
  void Release(uint32_t set);

 private:
  struct Set {
    std::vector<weft_endpoint> slots;
    uint32_t holders = 0;
  };

  uint32_t NextNumber();

  DirectMaps& maps_;
  const size_t max_slots_;
  size_t used_slots_ = 0;
  std::unordered_map<uint32_t, Set> sets_;
  // By hash of the slots.
  std::unordered_multimap<size_t, uint32_t> by_content_;
  uint32_t last_number_ = 0;
};

}  // namespace weft
