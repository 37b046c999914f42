#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "net/ip_address.h"

namespace weft {

struct PodState;

// Where a CONNECT authority leads inside one pod, or why it does not.
struct ConnectTarget {
  enum class Outcome { kOk, kMalformed, kOtherAddress, kUnknownHost, kReservedPort };
  Outcome outcome = Outcome::kMalformed;
  uint16_t port = 0;
};

// `local` is the address that the peer's tunnel came to. Only the port comes from the authority: what is dialled is
// always the pod itself.
ConnectTarget ResolveAuthority(std::string_view authority, const PodState& pod, const IpAddress& local);

// "00-<32 hex>-<16 hex>-..": the trace id, nullopt when the header is not of that form.
std::optional<std::array<uint8_t, 16>> TraceIdOf(std::string_view traceparent);

}  // namespace weft
