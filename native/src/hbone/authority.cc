#include "hbone/authority.h"

#include <algorithm>
#include <charconv>

namespace weft {
namespace {

// Longest DNS name with port.
constexpr size_t kMaxAuthorityBytes = 253 + 6;

bool IsHostCharacter(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

}  // namespace

std::optional<Authority> ParseAuthority(std::string_view text) {
  if (text.size() > kMaxAuthorityBytes) return std::nullopt;
  if (const auto address = SocketAddress::Parse(text)) {
    if (address->port == 0) return std::nullopt;
    return Authority{address, {}, address->port};
  }
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == text.size()) return std::nullopt;
  const std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || port == 0) return std::nullopt;
  // What can only be a DNS name.
  if (!std::all_of(host.begin(), host.end(), IsHostCharacter)) return std::nullopt;
  return Authority{std::nullopt, host, port};
}

}  // namespace weft
