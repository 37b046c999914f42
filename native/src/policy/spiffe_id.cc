#include "policy/spiffe_id.h"

#include <algorithm>

namespace weft {
namespace {

constexpr std::string_view kScheme = "spiffe://";

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsPunctuation(char c) { return c == '.' || c == '-' || c == '_'; }

// SPIFFE-ID 2.1: trust domains are lower case.
bool IsTrustDomain(std::string_view text) {
  return !text.empty() && text.size() <= kMaxTrustDomainBytes &&
         std::ranges::all_of(text, [](char c) { return IsLower(c) || IsDigit(c) || IsPunctuation(c); });
}

// SPIFFE-ID 2.2.
bool IsSegment(std::string_view text) {
  return !text.empty() && text != "." && text != ".." &&
         std::ranges::all_of(text, [](char c) { return IsLower(c) || IsUpper(c) || IsDigit(c) || IsPunctuation(c); });
}

// Takes the text up to `delimiter` off the front of `rest`, or nullopt when the delimiter is missing.
std::optional<std::string_view> TakeUntil(std::string_view* rest, std::string_view delimiter) {
  const size_t at = rest->find(delimiter);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view taken = rest->substr(0, at);
  rest->remove_prefix(at + delimiter.size());
  return taken;
}

}  // namespace

std::optional<SpiffeId> SpiffeId::Parse(std::string_view uri) {
  if (uri.size() > kMaxSpiffeIdBytes || !uri.starts_with(kScheme)) return std::nullopt;
  const std::string_view principal = uri.substr(kScheme.size());
  std::string_view rest = principal;
  const auto trust_domain = TakeUntil(&rest, "/ns/");
  if (!trust_domain || !IsTrustDomain(*trust_domain)) return std::nullopt;
  const auto namespace_name = TakeUntil(&rest, "/sa/");
  if (!namespace_name || !IsSegment(*namespace_name) || !IsSegment(rest)) return std::nullopt;
  return SpiffeId{std::string(*trust_domain), std::string(*namespace_name), std::string(rest), std::string(principal)};
}

}  // namespace weft
