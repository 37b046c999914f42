#include "l7/program.h"

#include <algorithm>

namespace weft::l7 {
namespace {

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return lower;
}

}  // namespace

const WeightedClusterProgram* ForwardProgram::Draw(uint32_t random) const {
  if (clusters.size() == 1) return &clusters.front();  // one destination takes all, whatever its weight
  if (total_weight == 0) return nullptr;
  uint32_t left = random % total_weight;
  for (const WeightedClusterProgram& each : clusters) {
    if (left < each.weight) return &each;
    left -= each.weight;
  }
  return nullptr;
}

const RouteProgram* VirtualHostProgram::Find(const MatchContext& context) const {
  const size_t found = index->Find(context);
  return found == RouteIndex::kNone ? nullptr : routes[found];
}

const VirtualHostProgram* HttpProgram::FindHost(std::string_view authority) const {
  // A waypoint has "*" alone.
  if (exact.empty() && suffixes.empty()) return any;
  const std::string host = Lower(SplitAuthority(authority).first);
  if (const auto found = exact.find(host); found != exact.end()) return found->second;
  for (const auto& [suffix, virtual_host] : suffixes) {
    if (host.size() > suffix.size() && host.ends_with(suffix)) return virtual_host;
  }
  return any;
}

bool TcpRouteProgram::Matches(const IpAddress& destination, std::string_view peer_namespace) const {
  if (!source_namespace.empty() && source_namespace != peer_namespace) return false;
  return destinations.empty() ||
         std::ranges::any_of(destinations, [&](const CidrRange& each) { return each.Contains(destination); });
}

const std::string* TcpRouteProgram::Draw(uint32_t random) const {
  if (clusters.size() == 1) return &clusters.front().first;
  if (total_weight == 0) return nullptr;
  uint32_t left = random % total_weight;
  for (const auto& [cluster, weight] : clusters) {
    if (left < weight) return &cluster;
    left -= weight;
  }
  return nullptr;
}

bool TlsRouteProgram::MatchesSni(std::string_view name) const {
  const std::string lower = Lower(name);
  return std::ranges::any_of(sni, [&](const std::string& each) {
    if (each == "*") return true;  // also without a name
    if (!each.starts_with('*')) return each == lower;
    return lower.size() >= each.size() && lower.ends_with(std::string_view(each).substr(1));
  });
}

}  // namespace weft::l7
