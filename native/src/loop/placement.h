#pragma once

#include <cstddef>
#include <cstdint>

namespace weft {

// Which of `count` loops should have a connection that loop `mine` has accepted: the one with the fewest, unless this
// one has hardly more. `load_of(i)` says how many loop i has.
template <typename LoadOf>
size_t PlaceConnection(size_t mine, size_t count, LoadOf load_of) {
  const uint32_t here = load_of(mine);
  size_t best = mine;
  uint32_t least = here;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t there = load_of(i);
    if (there >= least) continue;
    least = there;
    best = i;
  }
  // Handing over costs a wake-up; a quarter of imbalance is cheaper once there are some.
  return here <= least + least / 4 ? mine : best;
}

}  // namespace weft
