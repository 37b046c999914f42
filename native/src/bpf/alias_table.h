#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace weft {

// One slot of Walker's alias method, as weft_endpoint has it: a random 32-bit number of at most `keep` keeps the slot.
struct AliasSlot {
  uint32_t keep = 0;
  uint32_t alias = 0;
};

// One slot per weight; drawing a slot evenly and then keeping or exchanging it gives each its share of the sum, to
// within 2^-32. Weights are at least 1, and at most 2^31 of them.
std::vector<AliasSlot> MakeAliasTable(std::span<const uint32_t> weights);

}  // namespace weft
