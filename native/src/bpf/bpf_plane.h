#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "bpf/pinned_map.h"
#include "bpf/program_set.h"
#include "net/capture.h"
#include "net/ip_address.h"
#include "weft_abi.h"
#include "weft_reasons.h"

namespace weft {

struct BpfPlaneConfig {
  // Folder on a bpffs; our ABI's pins live in `v<ABI>` below it.
  std::string pin_dir;
  std::string pods_cgroup;
  // The running agent's; its tasks and those below are never captured.
  std::string agent_cgroup;
  // Absent: nobody's connections are probes.
  std::optional<std::string> kubelet_cgroup;
  // Captured connections at a time on this node.
  uint32_t max_flows = WEFT_MAX_FLOWS;
};

struct CapturedPod {
  std::string netns_path;
  // The first of each family is where captured connections are sent.
  std::vector<IpAddress> addresses;
  // Steer DNS to 15053.
  bool dns = false;
};

// Capture as pinned programs and maps: everything outlives this object and the process. While no agent is there,
// enrolled pods' connections are refused and inbound plaintext is dropped.
//
// CapturePod and ReleasePod: from one thread. The rest: from any.
class BpfPlane final : public Capture {
 public:
  // Adopts what an earlier process pinned, with our code put in its place.
  static Result<std::shared_ptr<BpfPlane>> Load(const BpfPlaneConfig& config);

  // Starts steering and returns the netns cookie. Again for the same namespace: takes over the new facts.
  Result<uint64_t> CapturePod(const CapturedPod& pod);
  // New connections are untouched from the return on; open ones go on. Ok when the pod is not captured.
  Status ReleasePod(uint64_t cookie);
  // Pods that pins hold, an earlier process's and another ABI version's included.
  std::vector<uint64_t> CapturedPods() const;
  // Sums over CPUs, indexed by WEFT_R_*.
  std::vector<uint64_t> Counters() const;

  std::optional<CapturedConnection> OriginalDestination(const SocketAddress& peer, const SocketAddress& local) override;
  Status AnnounceClient(int fd, const SocketAddress& client) override;
  Status SetInboundListener(uint64_t netns_cookie, int family, int listener_fd) override;

 private:
  explicit BpfPlane(const BpfPlaneConfig& config);

  Status Attach(const BpfPlaneConfig& config);
  Status OpenMaps();
  Status ExemptAgent(const Cgroup& agent);
  void AdoptAddresses();
  Status SetAddresses(uint64_t cookie, const std::vector<IpAddress>& addresses);
  void PurgeFlows(uint64_t cookie);
  void RemoveOtherVersions(uint64_t cookie);

  std::string pin_dir_;
  PinPaths pins_;
  ProgramSet programs_;
  PinnedMap<uint64_t, weft_pod> pods_;
  PinnedMap<weft_own_addr, uint32_t> own_addrs_;
  PinnedMap<weft_flow_key, weft_flow> flows_;
  PinnedMap<int, weft_address> clients_;
  PinnedMap<weft_listener_key, uint64_t> listeners_;
  PinnedMap<uint32_t, weft_config> config_;
  UniqueFd counters_;

  // OriginalDestination knows addresses, the maps go by namespace.
  mutable std::shared_mutex mutex_;
  std::unordered_map<IpAddress, uint64_t> pod_by_address_;
};

}  // namespace weft
