#pragma once

#include <memory>
#include <string>
#include <vector>

#include "loop/loop_context.h"
#include "tls/identity_context.h"
#include "upstream/cluster.h"
#include "upstream/cluster_catalog.h"

namespace weft::upstream {

struct EndpointStats {
  std::string address;
  uint32_t active_requests = 0;
  uint32_t connections = 0;
  bool ejected = false;
};
struct ClusterStats {
  std::string name;
  std::vector<EndpointStats> endpoints;
};

// The clusters of one loop: pools and choices on what snapshots say.
class LoopClusters : public ClusterSet {
 public:
  // Requests that begin afterwards see it; those that run go on with what they have.
  virtual void Publish(std::shared_ptr<const ClusterSnapshot> snapshot) = 0;
  virtual void SetIdentity(std::shared_ptr<const IdentityContext> identity) = 0;
  virtual std::vector<ClusterStats> Stats() const = 0;
  // Idle connections go; those in use go when they are idle.
  virtual void Drain() = 0;
};

// `options` outlives it.
std::unique_ptr<LoopClusters> MakeLoopClusters(LoopContext& context, const CatalogOptions& options);

}  // namespace weft::upstream
