#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weft::fuzz {

// Reads structure out of fuzzer bytes, front to back; zeros when they have run out.
class ByteSource {
 public:
  explicit ByteSource(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  bool done() const { return bytes_.empty(); }
  uint8_t Byte() {
    if (bytes_.empty()) return 0;
    const uint8_t byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte;
  }
  // 0 to `limit` - 1.
  unsigned Below(unsigned limit) { return Byte() % limit; }
  bool Bool() { return (Byte() & 1) != 0; }
  std::span<const uint8_t> Take(size_t n) {
    const auto taken = bytes_.first(std::min(n, bytes_.size()));
    bytes_ = bytes_.subspan(taken.size());
    return taken;
  }
  template <typename F>
  auto ListOf(unsigned max, F make) {
    std::vector<decltype(make())> list;
    for (unsigned n = Below(max + 1); n > 0; --n) list.push_back(make());
    return list;
  }

 private:
  std::span<const uint8_t> bytes_;
};

inline std::string_view AsText(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace weft::fuzz
