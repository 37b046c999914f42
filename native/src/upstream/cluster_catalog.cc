#include "upstream/cluster_catalog.h"

#include <utility>

namespace weft::upstream {

Status ClusterCatalog::SetCluster(const std::string& name, std::string_view bytes) {
  Result<std::shared_ptr<const ClusterConfig>> config = ClusterConfig::Parse(bytes);
  if (!config) return config.error();
  configs_[name] = std::move(*config);
  Rebuild(name);
  return Ok{};
}

Status ClusterCatalog::SetEndpoints(const std::string& name, std::string_view bytes) {
  Result<std::vector<EndpointConfig>> endpoints = ParseEndpoints(bytes);
  if (!endpoints) return endpoints.error();
  endpoints_[name] = std::move(*endpoints);
  Rebuild(name);
  return Ok{};
}

void ClusterCatalog::RemoveCluster(const std::string& name) {
  configs_.erase(name);
  Rebuild(name);
}

void ClusterCatalog::RemoveEndpoints(const std::string& name) {
  endpoints_.erase(name);
  Rebuild(name);
}

// Health and counters stay with what stays.
void ClusterCatalog::Rebuild(const std::string& name) {
  changed_ = true;
  const auto config = configs_.find(name);
  if (config == configs_.end()) {
    entries_.erase(name);
    return;
  }
  const std::shared_ptr<const ClusterEntry> old = entries_[name];
  std::unordered_map<std::string_view, std::shared_ptr<EndpointHealth>> known;
  if (old) {
    for (const auto& each : old->endpoints) known.emplace(each->config.address_text, each->health);
  }
  auto entry = std::make_shared<ClusterEntry>();
  entry->config = config->second;
  entry->counters = old ? old->counters : std::make_shared<ClusterCounters>();
  static const std::vector<EndpointConfig> kNone;
  const auto found = endpoints_.find(name);
  const std::vector<EndpointConfig>& endpoints = found == endpoints_.end() ? kNone : found->second;
  const std::vector<Placement> placements = Place(*entry->config, endpoints, options_.locality, options_.labels);
  const uint64_t now_ms = MonotonicMs();
  for (size_t i = 0; i < endpoints.size(); ++i) {
    const auto before = known.find(endpoints[i].address_text);
    auto health = before == known.end() ? std::make_shared<EndpointHealth>() : before->second;
    if (before == known.end()) health->since_ms = now_ms;
    entry->endpoints.push_back(
        std::make_shared<const EndpointEntry>(EndpointEntry{endpoints[i], std::move(health), placements[i]}));
  }
  entries_[name] = std::move(entry);
}

std::shared_ptr<const ClusterSnapshot> ClusterCatalog::snapshot() {
  if (changed_) snapshot_ = std::make_shared<ClusterSnapshot>(ClusterSnapshot{entries_});
  changed_ = false;
  return snapshot_;
}

}  // namespace weft::upstream
