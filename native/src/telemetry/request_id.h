#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "telemetry/random.h"

namespace weft::telemetry {

// The character of a UUID that holds its version. Envoy, and everybody who talks to it, keeps there why a request is
// traced, so that proxies behind the first one decide the same.
enum class TraceReason : char {
  kNone = '4',  // a plain UUID v4: nobody has said that it be traced
  kSampled = '9',
  kServiceForced = 'a',
  kClientForced = 'b',
};

inline constexpr size_t kRequestIdBytes = 36;
using RequestIdText = std::array<char, kRequestIdBytes>;

// A new UUID v4.
RequestIdText MakeRequestId(Random& random);

// What the id says; nothing when it is not shaped like a UUID: such a request is not traceable by its id.
std::optional<TraceReason> ReadTraceReason(std::string_view request_id);
// `request_id` must be UUID shaped.
void WriteTraceReason(char* request_id, TraceReason reason);

// A share of all ids, the same at every proxy that has the same rate: the decision comes from the id, not from chance.
bool FallsIntoShare(std::string_view request_id, uint32_t share_ppm);

}  // namespace weft::telemetry
