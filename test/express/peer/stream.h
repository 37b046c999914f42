// The bytes that both ends agree on: a pattern of a prime length, so that nothing lost, doubled or swapped looks right.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

class Stream {
 public:
  // The longest slice.
  static constexpr size_t kMaxSlice = 1 << 20;

  explicit Stream(uint64_t seed) : pattern_(kLength + kMaxSlice) {
    for (size_t i = 0; i < kLength; ++i) {
      seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
      pattern_[i] = static_cast<uint8_t>(seed >> 56);
    }
    std::memcpy(&pattern_[kLength], pattern_.data(), kMaxSlice);
  }

  // The bytes from `offset` on, kMaxSlice of them.
  const uint8_t* At(uint64_t offset) const { return &pattern_[offset % kLength]; }
  bool Matches(uint64_t offset, const uint8_t* bytes, size_t n) const { return std::memcmp(At(offset), bytes, n) == 0; }

 private:
  static constexpr size_t kLength = 1'048'573;
  std::vector<uint8_t> pattern_;
};

// Sizes and pauses.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed | 1) {}
  uint64_t Next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  uint64_t Below(uint64_t limit) { return Next() % limit; }

 private:
  uint64_t state_;
};
