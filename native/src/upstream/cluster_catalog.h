#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "hbone/h2_connection.h"
#include "l7/program_store.h"
#include "net/socket.h"
#include "upstream/cluster_config.h"
#include "upstream/locality.h"
#include "upstream/shared_state.h"

namespace weft::upstream {

// What is the same for all clusters of the process.
struct CatalogOptions {
  Locality locality;
  std::map<std::string, std::string> labels;
  // `baggage` of CONNECTs that this process opens.
  std::string baggage;
  Keepalive keepalive;
  TunnelTimeouts tunnel;
};

// One endpoint as a snapshot has it.
struct EndpointEntry {
  EndpointConfig config;
  std::shared_ptr<EndpointHealth> health;
  Placement placement;
};

// One cluster as a snapshot has it. A new object is made when anything of it changes.
struct ClusterEntry {
  std::shared_ptr<const ClusterConfig> config;
  std::shared_ptr<ClusterCounters> counters;
  std::vector<std::shared_ptr<const EndpointEntry>> endpoints;
};

struct ClusterSnapshot {
  std::unordered_map<std::string, std::shared_ptr<const ClusterEntry>> clusters;
};

// Clusters and their endpoints by name. One thread (JavaScript's) changes it; loops are handed snapshots.
class ClusterCatalog final : public l7::ClusterResources {
 public:
  explicit ClusterCatalog(CatalogOptions options) : options_(std::move(options)) {}

  Status SetCluster(const std::string& name, std::string_view bytes) override;
  Status SetEndpoints(const std::string& name, std::string_view bytes) override;
  void RemoveCluster(const std::string& name) override;
  void RemoveEndpoints(const std::string& name) override;

  std::shared_ptr<const ClusterSnapshot> snapshot();

 private:
  void Rebuild(const std::string& name);

  CatalogOptions options_;
  std::map<std::string, std::shared_ptr<const ClusterConfig>> configs_;
  std::map<std::string, std::vector<EndpointConfig>> endpoints_;
  std::unordered_map<std::string, std::shared_ptr<const ClusterEntry>> entries_;
  std::shared_ptr<const ClusterSnapshot> snapshot_ = std::make_shared<ClusterSnapshot>();
  bool changed_ = false;
};

}  // namespace weft::upstream
