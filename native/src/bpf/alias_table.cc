#include "bpf/alias_table.h"

#include <numeric>

namespace weft {
namespace {

constexpr uint32_t kAlways = UINT32_MAX;

// The share of `part` in `whole` as a threshold. `part` is less than `whole`, so it never comes out as kAlways + 1.
uint32_t Threshold(uint64_t part, uint64_t whole) {
  const auto share = static_cast<uint64_t>((static_cast<unsigned __int128>(part) << 32) / whole);
  return share == 0 ? 0 : static_cast<uint32_t>(share - 1);
}

}  // namespace

// Vose's way: each slot that has less than the mean is filled up from one that has more. In whole numbers (weights
// times slots, so that the mean is the sum), which leaves nothing over at the end.
std::vector<AliasSlot> MakeAliasTable(std::span<const uint32_t> weights) {
  const uint64_t n = weights.size();
  const uint64_t mean = std::accumulate(weights.begin(), weights.end(), uint64_t{0});
  std::vector<AliasSlot> slots(n);
  std::vector<uint64_t> rest(n);
  std::vector<uint32_t> less;
  std::vector<uint32_t> more;
  for (uint32_t i = 0; i < n; ++i) {
    rest[i] = weights[i] * n;
    slots[i] = {.keep = kAlways, .alias = i};
    (rest[i] < mean ? less : more).push_back(i);
  }
  while (!less.empty()) {
    const uint32_t poor = less.back();
    const uint32_t rich = more.back();
    less.pop_back();
    slots[poor] = {.keep = Threshold(rest[poor], mean), .alias = rich};
    rest[rich] -= mean - rest[poor];
    if (rest[rich] >= mean) continue;
    more.pop_back();
    less.push_back(rich);
  }
  return slots;
}

}  // namespace weft
