#include "upstream/locality.h"

#include <algorithm>
#include <set>
#include <string_view>

namespace weft::upstream {
namespace {

// "region/zone/subzone", with "*" for whatever follows.
bool MatchesPattern(std::string_view pattern, const EndpointConfig& endpoint) {
  const std::string_view parts[] = {endpoint.region, endpoint.zone, endpoint.subzone};
  for (const std::string_view part : parts) {
    if (pattern.empty() || pattern == "*") return true;
    const size_t slash = std::min(pattern.find('/'), pattern.size());
    if (pattern.substr(0, slash) != part) return false;
    pattern.remove_prefix(std::min(slash + 1, pattern.size()));
  }
  return true;
}

uint32_t Distance(const Locality& own, const EndpointConfig& endpoint) {
  if (endpoint.region != own.region) return 3;
  if (endpoint.zone != own.zone) return 2;
  return endpoint.subzone == own.subzone ? 0 : 1;
}

std::string LabelOf(const std::map<std::string, std::string>& labels, const std::string& key) {
  const auto found = labels.find(key);
  return found == labels.end() ? std::string() : found->second;
}

// How many of the leading labels match.
uint32_t LeadingMatches(const std::vector<std::string>& priority, const EndpointConfig& endpoint,
                        const std::map<std::string, std::string>& own) {
  uint32_t n = 0;
  for (const std::string& each : priority) {
    const size_t equals = each.find('=');
    const std::string key = each.substr(0, equals);
    const std::string wanted = equals == std::string::npos ? LabelOf(own, key) : each.substr(equals + 1);
    if (LabelOf(endpoint.labels, key) != wanted) break;
    ++n;
  }
  return n;
}

void CloseGaps(std::vector<Placement>& placements) {
  std::set<uint32_t> used;
  for (const Placement& each : placements) {
    if (each.weight > 0) used.insert(each.priority);
  }
  const std::vector<uint32_t> sorted(used.begin(), used.end());
  for (Placement& each : placements) {
    each.priority = static_cast<uint32_t>(std::ranges::lower_bound(sorted, each.priority) - sorted.begin());
  }
}

void Distribute(const std::map<std::string, uint32_t>& shares, const std::vector<EndpointConfig>& endpoints,
                std::vector<Placement>& placements) {
  std::vector<const std::string*> pattern_of(endpoints.size());
  std::map<std::string, double> total;
  for (size_t i = 0; i < endpoints.size(); ++i) {
    // The most specific pattern that holds.
    for (const auto& [pattern, _] : shares) {
      if (!MatchesPattern(pattern, endpoints[i])) continue;
      if (pattern_of[i] == nullptr || pattern.size() > pattern_of[i]->size()) pattern_of[i] = &pattern;
    }
    if (pattern_of[i] != nullptr) total[*pattern_of[i]] += endpoints[i].weight;
  }
  for (size_t i = 0; i < endpoints.size(); ++i) {
    placements[i].weight =
        pattern_of[i] == nullptr ? 0 : endpoints[i].weight * shares.at(*pattern_of[i]) / total[*pattern_of[i]];
  }
}

}  // namespace

std::vector<Placement> Place(const ClusterConfig& config, const std::vector<EndpointConfig>& endpoints,
                             const Locality& own, const std::map<std::string, std::string>& own_labels) {
  std::vector<Placement> placements(endpoints.size());
  for (size_t i = 0; i < endpoints.size(); ++i) placements[i] = {endpoints[i].priority, double(endpoints[i].weight)};
  if (!config.locality) {
    CloseGaps(placements);
    return placements;
  }
  const LocalityConfig& setting = *config.locality;
  EndpointConfig self;
  self.region = own.region;
  self.zone = own.zone;
  self.subzone = own.subzone;
  for (const auto& [from, shares] : setting.distribute) {
    if (!MatchesPattern(from, self)) continue;
    Distribute(shares, endpoints, placements);
    CloseGaps(placements);
    return placements;
  }
  if (!setting.failover) {
    CloseGaps(placements);
    return placements;
  }
  const auto levels = static_cast<uint32_t>(setting.failover_priority.size());
  // Endpoint priorities of the program come first, localities within each.
  const uint32_t stride = std::max(levels + 1, 5u);
  const auto target = setting.failovers.find(own.region);
  for (size_t i = 0; i < endpoints.size(); ++i) {
    uint32_t rank = 0;
    if (levels > 0) {
      const uint32_t matches = LeadingMatches(setting.failover_priority, endpoints[i], own_labels);
      if (setting.strict && matches < levels) placements[i].weight = 0;
      rank = levels - matches;
    } else {
      rank = Distance(own, endpoints[i]);
      if (rank == 3 && target != setting.failovers.end() && endpoints[i].region != target->second) rank = 4;
    }
    placements[i].priority = endpoints[i].priority * stride + rank;
  }
  CloseGaps(placements);
  return placements;
}

}  // namespace weft::upstream
