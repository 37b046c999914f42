#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace weft::telemetry {

inline constexpr char kHexDigits[] = "0123456789abcdef";

// -1: not a hex digit.
inline int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

inline bool IsLowerHex(std::string_view text) {
  for (const char c : text) {
    if (HexValue(c) < 0 || (c >= 'A' && c <= 'F')) return false;
  }
  return true;
}

// Fills `bytes` from twice as many digits. False: some are none, or there are more or fewer.
inline bool ReadHex(std::string_view text, std::span<uint8_t> bytes) {
  if (text.size() != bytes.size() * 2) return false;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const int high = HexValue(text[2 * i]);
    const int low = HexValue(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return true;
}

// Returns where it ended.
inline char* WriteHex(std::span<const uint8_t> bytes, char* to) {
  for (const uint8_t byte : bytes) {
    *to++ = kHexDigits[byte >> 4];
    *to++ = kHexDigits[byte & 15];
  }
  return to;
}

}  // namespace weft::telemetry
