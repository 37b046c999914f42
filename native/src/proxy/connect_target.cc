#include "proxy/connect_target.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "proxy/limits.h"
#include "proxy/pod_state.h"

namespace weft {
namespace {

// Longest DNS name with port.
constexpr size_t kMaxAuthorityBytes = 253 + 6;

// host:port with a host that can only be a DNS name.
bool IsHostPort(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == text.size()) return false;
  const std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || port == 0) return false;
  return std::all_of(host.begin(), host.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_';
  });
}

}  // namespace

ConnectTarget ResolveAuthority(std::string_view authority, const PodState& pod, const IpAddress& local) {
  using Outcome = ConnectTarget::Outcome;
  if (authority.size() > kMaxAuthorityBytes) return {Outcome::kMalformed, 0};
  if (const auto address = SocketAddress::Parse(authority)) {
    if (address->port == 0) return {Outcome::kMalformed, 0};
    if (address->ip != local && !pod.IsOwnAddress(address->ip)) return {Outcome::kOtherAddress, 0};
    // A tunnel over loopback must not make the pod's loopback services reachable.
    if (address->ip.is_loopback() && !pod.IsOwnAddress(address->ip)) return {Outcome::kOtherAddress, 0};
    if (IsReservedPort(address->port)) return {Outcome::kReservedPort, 0};
    return {Outcome::kOk, address->port};
  }
  if (!IsHostPort(authority)) return {Outcome::kMalformed, 0};
  const auto found = pod.hosts.find(std::string(authority));
  if (found == pod.hosts.end()) {
    // An address that we could not read is not a name.
    const std::string_view host = authority.substr(0, authority.rfind(':'));
    const bool numeric = host.find_first_not_of("0123456789.") == std::string_view::npos;
    return {numeric ? Outcome::kMalformed : Outcome::kUnknownHost, 0};
  }
  if (IsReservedPort(found->second)) return {Outcome::kReservedPort, 0};
  return {Outcome::kOk, found->second};
}

std::optional<std::array<uint8_t, 16>> TraceIdOf(std::string_view traceparent) {
  if (traceparent.size() < 55 || traceparent.substr(0, 3) != "00-" || traceparent[35] != '-') return std::nullopt;
  std::array<uint8_t, 16> id{};
  for (size_t i = 0; i < id.size(); ++i) {
    const char* digits = traceparent.data() + 3 + 2 * i;
    const auto [end, error] = std::from_chars(digits, digits + 2, id[i], 16);
    if (error != std::errc() || end != digits + 2) return std::nullopt;
  }
  return id;
}

}  // namespace weft
