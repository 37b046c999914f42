#pragma once

#include <algorithm>
#include <cstdint>

namespace weft {

// Allows `burst` events at once and `per_second` in the long run.
class TokenBucket {
 public:
  TokenBucket(uint32_t burst, uint32_t per_second) : burst_(burst), per_second_(per_second), tokens_(burst) {}

  // False when the budget is spent.
  bool Take(uint64_t now_ms) {
    if (now_ms > last_ms_) {
      tokens_ = std::min<double>(burst_, tokens_ + static_cast<double>(now_ms - last_ms_) * per_second_ / 1000.0);
      last_ms_ = now_ms;
    }
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }
  // One more event is allowed: something good has happened.
  void GiveBack() { tokens_ = std::min<double>(burst_, tokens_ + 1); }

 private:
  uint32_t burst_;
  uint32_t per_second_;
  double tokens_;
  uint64_t last_ms_ = 0;
};

}  // namespace weft
