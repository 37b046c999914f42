#include "telemetry/request_id.h"

#include <algorithm>

#include "telemetry/hex.h"

namespace weft::telemetry {
namespace {

constexpr size_t kReasonAt = 14;
constexpr size_t kVariantAt = 19;
// "xxxxxxxx" of a UUID, as one number.
constexpr size_t kShareDigits = 8;
constexpr uint64_t kMillion = 1'000'000;

bool IsDash(size_t at) { return at == 8 || at == 13 || at == 18 || at == 23; }

bool IsUuid(std::string_view text) {
  if (text.size() != kRequestIdBytes) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (IsDash(i) ? text[i] != '-' : HexValue(text[i]) < 0) return false;
  }
  return true;
}

}  // namespace

RequestIdText MakeRequestId(Random& random) {
  RequestIdText id;
  uint64_t bits = random.Next();
  int left = 16;
  for (size_t i = 0; i < id.size(); ++i) {
    if (IsDash(i)) {
      id[i] = '-';
      continue;
    }
    if (left == 0) {
      bits = random.Next();
      left = 16;
    }
    id[i] = kHexDigits[bits & 15];
    bits >>= 4;
    --left;
  }
  id[kReasonAt] = static_cast<char>(TraceReason::kNone);
  id[kVariantAt] = kHexDigits[8 | (HexValue(id[kVariantAt]) & 3)];
  return id;
}

std::optional<TraceReason> ReadTraceReason(std::string_view request_id) {
  if (!IsUuid(request_id)) return std::nullopt;
  switch (request_id[kReasonAt]) {
    case '9':
      return TraceReason::kSampled;
    case 'a':
      return TraceReason::kServiceForced;
    case 'b':
      return TraceReason::kClientForced;
    default:
      return TraceReason::kNone;
  }
}

void WriteTraceReason(char* request_id, TraceReason reason) { request_id[kReasonAt] = static_cast<char>(reason); }

bool FallsIntoShare(std::string_view request_id, uint32_t share_ppm) {
  uint64_t value = 0;
  for (const char c : request_id.substr(0, kShareDigits)) value = value << 4 | static_cast<uint64_t>(HexValue(c) & 15);
  return value * kMillion >> (4 * kShareDigits) < share_ppm;
}

}  // namespace weft::telemetry
