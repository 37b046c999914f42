#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>

#include "net/ip_address.h"
#include "net/netns.h"

namespace weft {

// Names a connection that BPF alone handles. Pods are netns cookies; 0: not one of ours.
struct DirectConnection {
  uint64_t source_pod = 0;
  uint64_t destination_pod = 0;
  SocketAddress source;
  SocketAddress destination;
};

// Ends these in the namespaces of their pods, as far as `namespaces` has them. Returns how many there still were.
size_t EndConnections(const std::unordered_map<uint64_t, NetNs>& namespaces,
                      std::span<const DirectConnection> connections);

}  // namespace weft
