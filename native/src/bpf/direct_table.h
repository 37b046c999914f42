#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "bpf/direct_maps.h"
#include "bpf/endpoint_sets.h"
#include "net/ip_address.h"
#include "weft_abi.h"

namespace weft {

// One endpoint that BPF may choose.
struct DirectEndpoint {
  uint32_t key = 0;     // RouteEndpoint.key of native.ts
  uint32_t weight = 1;  // relative, at least 1
  SocketAddress address;
  uint32_t kind = WEFT_ENDPOINT_AGENT;
  uint64_t netns = 0;  // WEFT_ENDPOINT_DIRECT
};

// What the connect program decides by itself: routes, their endpoint sets and verdicts, in pinned maps. One thread.
class DirectTable {
 public:
  // Takes over what an earlier process wrote.
  explicit DirectTable(std::unique_ptr<DirectMaps> maps, size_t max_endpoints = WEFT_MAX_ENDPOINTS);

  // A connection sees the old route, the new one, or asks the agent. On an error the route is gone.
  Status SetRoute(uint64_t pod, const SocketAddress& destination, std::span<const DirectEndpoint> endpoints);
  void RemoveRoute(uint64_t pod, const SocketAddress& destination);
  std::vector<weft_route_key> Routes() const;

  // On an error nothing is known of the pair.
  Status SetVerdict(const weft_verdict_key& key, const weft_verdict& verdict);
  void RemoveVerdict(const weft_verdict_key& key) { maps_->RemoveVerdicts({&key, 1}); }
  // Drops what no connection asks for any more: verdicts that are not of their destination's epoch.
  void SweepVerdicts(const std::function<std::optional<uint32_t>(uint64_t pod)>& epoch_of);

  // Routes of this pod, and verdicts from and to it.
  void PurgePod(uint64_t pod);

 private:
  // By bytes: all of a pod's lie together.
  struct Less {
    bool operator()(const weft_route_key& a, const weft_route_key& b) const {
      return std::memcmp(&a, &b, sizeof(a)) < 0;
    }
  };

  void Drop(const weft_route_key& key);

  std::unique_ptr<DirectMaps> maps_;
  EndpointSets sets_;
  // To the number of the set.
  std::map<weft_route_key, uint32_t, Less> routes_;
};

}  // namespace weft
