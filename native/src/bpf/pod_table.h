#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "bpf/pinned_map.h"
#include "net/ip_address.h"
#include "weft_abi.h"

namespace weft {

struct PinPaths;

struct CapturedPod {
  std::string netns_path;
  // The first of each family is where captured connections are sent.
  std::vector<IpAddress> addresses;
  // Steer DNS to 15053.
  bool dns = false;
  // The pod has asked for express connections.
  bool express = false;
};

// Captured pods and their addresses: weft_pods and weft_own_addrs. One thread.
class PodTable {
 public:
  Status Open(const PinPaths& pins);

  // What stays untouched of the pod's traffic; comes before Set.
  Status SetAddresses(uint64_t pod, const std::vector<IpAddress>& addresses);
  // Begins capture of outbound connections, or takes over new facts. What was found out about a pod that is captured
  // already (epoch, open, device) stays: verdicts of an earlier time go on to count, or not to.
  Status Set(uint64_t pod, const CapturedPod& facts);
  // Ends capture.
  void Remove(uint64_t pod);
  std::optional<weft_pod> Get(uint64_t pod) const { return pods_.Get(pod); }
  std::vector<uint64_t> Pods() const { return pods_.Keys(); }

  // ENOENT when the pod is not captured.
  Status ExpireVerdicts(uint64_t pod);
  Status SetOpen(uint64_t pod, bool open);
  // The host's end of the pod's device, where packets may be redirected; 0: none.
  Status SetDevice(uint64_t pod, uint32_t ifindex);

 private:
  template <typename Change>
  Status Update(uint64_t pod, Change change);

  PinnedMap<uint64_t, weft_pod> pods_;
  PinnedMap<weft_own_addr, uint32_t> own_addrs_;
};

}  // namespace weft
