#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace weft {

// Bump allocator for the texts of one exchange. Grows by blocks; Reset keeps the first one, so that an object that is
// used again allocates nothing. What is taken is never moved.
class Arena {
 public:
  static constexpr size_t kBlockBytes = 4096;

  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  char* Take(size_t n) {
    if (n > left_) Grow(n);
    char* result = next_;
    next_ += n;
    left_ -= n;
    return result;
  }
  std::string_view Copy(std::string_view text) {
    if (text.empty()) return {"", 0};
    char* at = Take(text.size());
    std::memcpy(at, text.data(), text.size());
    return {at, text.size()};
  }
  void Reset();
  // Bytes in blocks.
  size_t held() const { return held_; }

 private:
  struct Block {
    std::unique_ptr<char[]> bytes;
    size_t size;
  };
  void Grow(size_t n);
  std::vector<Block> blocks_;
  char* next_ = nullptr;
  size_t left_ = 0;
  size_t held_ = 0;
};

}  // namespace weft
