#include "proxy/connect_target.h"

#include <charconv>
#include <string>

#include "hbone/authority.h"
#include "proxy/limits.h"
#include "proxy/pod_state.h"

namespace weft {
ConnectTarget ResolveAuthority(std::string_view authority, const PodState& pod, const IpAddress& local) {
  using Outcome = ConnectTarget::Outcome;
  const std::optional<Authority> parsed = ParseAuthority(authority);
  if (!parsed) return {Outcome::kMalformed, 0};
  if (const auto& address = parsed->address) {
    if (address->ip != local && !pod.IsOwnAddress(address->ip)) return {Outcome::kOtherAddress, 0};
    // A tunnel over loopback must not make the pod's loopback services reachable.
    if (address->ip.is_loopback() && !pod.IsOwnAddress(address->ip)) return {Outcome::kOtherAddress, 0};
    if (IsReservedPort(address->port)) return {Outcome::kReservedPort, 0};
    return {Outcome::kOk, address->port};
  }
  const auto found = pod.hosts.find(std::string(authority));
  if (found == pod.hosts.end()) {
    // An address that we could not read is not a name.
    const bool numeric = parsed->host.find_first_not_of("0123456789.") == std::string_view::npos;
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
