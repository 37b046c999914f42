#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace weft::telemetry {

static_assert(std::endian::native == std::endian::little, "TypeScript reads little-endian");

// Appends numbers and texts to bytes, for waypoint/src/telemetry to read. Numbers are little-endian; counts are
// doubles, which JavaScript reads without BigInt and which are exact up to 2^53.
class Pack {
 public:
  explicit Pack(std::vector<uint8_t>& bytes) : bytes_(bytes) {}

  template <typename T>
  void Number(T value) {
    Bytes(&value, sizeof value);
  }
  void Count(uint64_t value) { Number(static_cast<double>(value)); }
  // With its length before it.
  void Text(std::string_view text) {
    text = text.substr(0, UINT16_MAX);
    Number(static_cast<uint16_t>(text.size()));
    Bytes(text.data(), text.size());
  }
  void Bytes(const void* data, size_t n) {
    const size_t at = bytes_.size();
    bytes_.resize(at + n);
    if (n > 0) std::memcpy(bytes_.data() + at, data, n);
  }

 private:
  std::vector<uint8_t>& bytes_;
};

}  // namespace weft::telemetry
