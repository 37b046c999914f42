#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/result.h"
#include "bpf/pinned_map.h"
#include "net/capture.h"
#include "net/ip_address.h"
#include "weft_abi.h"

namespace weft {

struct PinPaths;

// weft_flows, which the sockops program fills. From any thread.
class FlowTable {
 public:
  Status Open(const PinPaths& pins);

  // Of a connection that the pod has made from `peer` to the agent at `local`.
  std::optional<CapturedConnection> Find(uint64_t pod, const SocketAddress& peer, const SocketAddress& local) const;
  // Those of direct connections, being opened or open: all that were there from the beginning to the end of the call.
  std::vector<std::pair<weft_flow_key, weft_flow>> Direct() const;
  // Flows within the pod, to it and from it: its addresses may be used again by a pod that must not inherit them.
  void PurgePod(uint64_t pod) const;

 private:
  PinnedMap<weft_flow_key, weft_flow> flows_;
};

}  // namespace weft
