#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace weft::waypoint {

// What a client speaks, told by its first bytes.
enum class Sniffed : uint8_t {
  kMore,  // nothing contradicts yet
  kHttp1,
  kHttp2,
  kTls,
  kOther,
};

// Bytes after which the answer is never kMore: a request line that is longer than this is HTTP/1 as far as it goes.
inline constexpr size_t kMaxSniffBytes = 8 * 1024;

Sniffed Sniff(std::span<const uint8_t> bytes);

// HTTP is certain, the question is which: kMore, kHttp1 or kHttp2.
Sniffed SniffHttp(std::span<const uint8_t> bytes);

}  // namespace weft::waypoint
