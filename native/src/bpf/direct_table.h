#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "bpf/pinned_map.h"
#include "net/ip_address.h"
#include "weft_abi.h"

namespace weft {

struct PinPaths;

struct DirectEndpoint {
  uint32_t key = 0;     // RouteEndpoint.key of native.ts
  uint32_t weight = 1;  // relative
  SocketAddress address;
  uint32_t kind = WEFT_ENDPOINT_AGENT;
  uint64_t netns = 0;  // WEFT_ENDPOINT_DIRECT
};

// What the connect program decides by itself: routes, their endpoint sets and verdicts, in pinned maps. One thread.
class DirectTable {
 public:
  // Takes over what an earlier process wrote; numbers of sets go on after its.
  Status Open(const PinPaths& pins);

  // A connection sees the old route, the new one, or asks the agent. On an error the route is gone.
  Status SetRoute(uint64_t pod, const SocketAddress& destination, std::span<const DirectEndpoint> endpoints);
  void RemoveRoute(uint64_t pod, const SocketAddress& destination);
  Status SetVerdict(const weft_verdict_key& key, uint32_t epoch, bool allow);
  void RemoveVerdict(const weft_verdict_key& key);
  // Routes of this pod, and verdicts from and to it.
  void PurgePod(uint64_t pod);
  std::vector<weft_route_key> Routes() const;
};

}  // namespace weft
