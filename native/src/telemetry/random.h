#pragma once

#include <array>
#include <cstdint>

namespace weft::telemetry {

// Ids of requests and spans: xoshiro256** seeded by the kernel. Fast and collision-free, not secret: nothing may be
// protected by such an id. One per loop.
class Random {
 public:
  Random();
  // For tests that want to see the same again.
  explicit Random(uint64_t seed);

  uint64_t Next() {
    const uint64_t result = Rotate(state_[1] * 5, 7) * 9;
    const uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = Rotate(state_[3], 45);
    return result;
  }

 private:
  static uint64_t Rotate(uint64_t x, int by) { return (x << by) | (x >> (64 - by)); }
  std::array<uint64_t, 4> state_;
};

}  // namespace weft::telemetry
