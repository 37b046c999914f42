#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace weft {

// Longest URI that is looked at (SPIFFE-ID 2.3) and longest trust domain (2.1).
inline constexpr size_t kMaxSpiffeIdBytes = 2048;
inline constexpr size_t kMaxTrustDomainBytes = 255;

// `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`, split once when a peer's certificate was verified.
struct SpiffeId {
  std::string trust_domain;
  std::string namespace_name;
  std::string service_account;
  // The id without `spiffe://`, the text that principals of policies are compared with.
  std::string principal;

  // nullopt unless `uri` is of exactly that form in SPIFFE's own character set: no NUL, no percent, no empty, `.` or
  // `..` segment, nothing before or after. A name that two parsers could read differently is nobody's name.
  static std::optional<SpiffeId> Parse(std::string_view uri);

  std::string ToUri() const { return "spiffe://" + principal; }
  bool operator==(const SpiffeId&) const = default;
};

}  // namespace weft
