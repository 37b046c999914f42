#pragma once

#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "upstream/cluster_catalog.h"
#include "upstream/hash.h"

namespace weft::upstream {

// The choice of an endpoint of one cluster on one loop: priorities first, then the cluster's algorithm among those that
// are healthy. Made anew for each snapshot of the cluster; tables of consistent hashing are made when they are needed.
class Balancer {
 public:
  Balancer(std::shared_ptr<const ClusterEntry> cluster, uint32_t seed);

  static constexpr size_t kNone = static_cast<size_t>(-1);
  // An index into the cluster's endpoints. `tried`: avoided as far as there are others.
  size_t Pick(std::optional<uint64_t> hash, const std::vector<size_t>& tried, bool other_priorities, uint64_t now_ms);

 private:
  // Endpoints of one priority that may get something.
  struct Level {
    std::vector<size_t> members;
    std::vector<double> weights;
    bool uniform = true;
    std::unique_ptr<HashRing> ring;
    std::unique_ptr<MaglevTable> maglev;
    // Round robin: smooth weighted, as in nginx.
    std::vector<double> turns;
    size_t next = 0;
  };
  struct Choice {
    Level* level = nullptr;  // null: nobody may be asked
    bool panic = false;      // too few are well: all of the level are asked
  };
  Choice ChooseLevel(const std::vector<size_t>& tried, bool other_priorities, uint64_t now_ms);
  // Weights as far as their endpoints have warmed up.
  void Warm(uint64_t now_ms);
  size_t PickIn(Level& level, std::optional<uint64_t> hash, uint64_t now_ms, const std::vector<size_t>& tried);
  size_t Draw(const Level& level);
  size_t LeastRequest(const Level& level, uint64_t now_ms, const std::vector<size_t>& tried);
  size_t RoundRobin(Level& level, uint64_t now_ms, const std::vector<size_t>& tried);
  size_t ByHash(Level& level, uint64_t hash);
  bool Healthy(size_t endpoint, uint64_t now_ms) const;
  double HealthyShare(const Level& level, uint64_t now_ms) const;

  std::shared_ptr<const ClusterEntry> cluster_;
  std::vector<Level> levels_;
  std::vector<double> shares_, loads_;  // scratch of ChooseLevel
  uint64_t warm_next_ms_;               // when weights are to be looked at again
  std::minstd_rand random_;
};

}  // namespace weft::upstream
