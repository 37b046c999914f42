#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "l7/filter.h"
#include "l7/header_matcher.h"

namespace weft::l7 {
class RateLimits;  // proto/l7.proto
}

namespace weft::security {

// A token bucket that all loops share, without a lock: the number of the fill and what is left of it, in one word.
class SharedBucket {
 public:
  SharedBucket(uint32_t tokens, uint32_t tokens_per_fill, uint64_t fill_interval_ms)
      : tokens_(tokens), per_fill_(tokens_per_fill), interval_ms_(fill_interval_ms), state_(tokens) {}
  bool Take(uint64_t now_ms);

 private:
  const uint32_t tokens_;
  const uint32_t per_fill_;
  const uint64_t interval_ms_;
  std::atomic<uint64_t> started_ms_{0};
  std::atomic<uint64_t> state_;  // fill number << 32 | tokens left
};

// Keys and values, in the order of their actions.
using LimitDescriptor = std::vector<std::pair<std::string, std::string>>;

struct DescriptorLimit {
  DescriptorLimit(LimitDescriptor which, uint32_t tokens, uint32_t per_fill, uint64_t interval_ms)
      : descriptor(std::move(which)), bucket(tokens, per_fill, interval_ms) {}
  LimitDescriptor descriptor;
  SharedBucket bucket;
};

struct LocalLimit {
  LocalLimit(uint32_t tokens, uint32_t per_fill, uint64_t interval_ms) : bucket(tokens, per_fill, interval_ms) {}
  // Takes a token of every bucket that a request with these descriptors falls into. False: one is empty.
  bool Take(const std::vector<LimitDescriptor>& descriptors, uint64_t now_ms) const;

  // The buckets are the one thing of a program that changes: they count.
  mutable SharedBucket bucket;
  std::vector<std::unique_ptr<DescriptorLimit>> descriptors;
  bool spare_own_bucket = false;
  uint16_t status = 429;
  uint32_t enabled_ppm = 1'000'000;
  std::vector<std::pair<std::string, std::string>> response_headers;
};

struct LimitEntry {
  enum class Kind : uint8_t { kLiteral, kHeader, kRemoteAddress, kPath, kHeaderValueMatch };
  Kind kind = Kind::kLiteral;
  std::string key;
  std::string value;  // the literal, also of a match; or the header's name
  // kHeaderValueMatch: there is a value when all of these hold, or when not all do.
  std::vector<l7::HeaderMatcher> headers;
  bool expect_match = true;
  bool skip_if_absent = false;
};
struct GlobalLimit {
  std::string cluster, domain, authority;
  uint64_t timeout_ms = 0;
  bool fail_closed = false;
  std::vector<std::vector<LimitEntry>> descriptors;
};

// A compiled RateLimits.
struct RateLimitProgram {
  std::shared_ptr<const LocalLimit> local;
  std::vector<std::vector<LimitEntry>> local_descriptors;
  std::vector<GlobalLimit> global;

  static Result<std::shared_ptr<const RateLimitProgram>> Compile(const l7::RateLimits& limits);
};

// `route` wins over `chain` in local limits; services are asked about both. Either may be null.
std::unique_ptr<l7::Filter> MakeRateLimitFilter(std::shared_ptr<const RateLimitProgram> chain,
                                                std::shared_ptr<const RateLimitProgram> route);

}  // namespace weft::security
