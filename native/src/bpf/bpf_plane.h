#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "bpf/config_entry.h"
#include "bpf/direct_connection.h"
#include "bpf/direct_table.h"
#include "bpf/event_reader.h"
#include "bpf/express.h"
#include "bpf/flow_table.h"
#include "bpf/newcomers.h"
#include "bpf/open_connections.h"
#include "bpf/other_versions.h"
#include "bpf/pinned_map.h"
#include "bpf/pod_table.h"
#include "bpf/program_set.h"
#include "bpf/redirect.h"
#include "net/capture.h"
#include "net/ip_address.h"
#include "net/netns.h"
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

// Capture as pinned programs and maps: everything outlives this object and the process. While no agent is there,
// enrolled pods' connections are refused and inbound plaintext is dropped, but for what the direct path has been told.
//
// The Capture methods and Counters: from any thread. The rest: from one.
class BpfPlane final : public Capture {
 public:
  // Adopts what an earlier process pinned, with our code put in its place.
  static Result<std::shared_ptr<BpfPlane>> Load(const BpfPlaneConfig& config);

  // Starts steering and returns the netns cookie. Again for the same namespace: takes over the new facts.
  Result<uint64_t> CapturePod(const CapturedPod& pod);
  // New connections are untouched from the return on; open ones go on. Ok when the pod is not captured.
  Status ReleasePod(uint64_t pod);
  // What is said of pods that are not captured.
  Newcomers& newcomers() { return newcomers_; }
  // Pods that pins hold, an earlier process's and another ABI version's included.
  std::vector<uint64_t> CapturedPods() const;
  // Sums over CPUs, indexed by WEFT_R_*.
  std::vector<uint64_t> Counters() const;

  // The kernel-direct path: what BPF decides without the agent. Pods that are not captured are ENOENT.
  //
  // Empty: it is offered. Else what this kernel lacks: nothing may be allowed that could not be ended later on, so
  // SetRoute refuses endpoints of WEFT_ENDPOINT_DIRECT, and SetOpen an open pod.
  const std::string& DirectOff() const { return direct_off_; }
  Status SetRoute(uint64_t pod, const SocketAddress& destination, std::span<const DirectEndpoint> endpoints);
  void RemoveRoute(uint64_t pod, const SocketAddress& destination) { direct_->RemoveRoute(pod, destination); }
  std::vector<weft_route_key> Routes() const { return direct_->Routes(); }
  // Counts until ExpireVerdicts of the destination.
  Status SetVerdict(const weft_verdict_key& key, bool allow);
  void RemoveVerdict(const weft_verdict_key& key) { direct_->RemoveVerdict(key); }
  Status ExpireVerdicts(uint64_t pod);
  // Plaintext from outside to the pod's applications.
  Status SetOpen(uint64_t pod, bool open);
  // Plaintext to destinations outside the mesh, for that long.
  Status PermitPlain(std::chrono::milliseconds duration) { return config_.PermitPlain(duration); }
  // Connections that BPF alone handles and that are open now.
  Result<std::vector<weft_event>> DirectConnections() const;
  // Resets them at both ends, as far as they are of pods that this process has captured. Returns how many there were.
  size_t EndDirect(std::span<const DirectConnection> connections) const {
    return EndConnections(namespaces_, connections);
  }
  // Those that have ended or were denied, in batches as EventReader says.
  Result<std::unique_ptr<EventReader>> ReadEvents(std::function<void()> ready) const {
    return EventReader::Start(pins_, std::move(ready));
  }

  // Peer redirect: packets between pods of this node go past the host where nothing speaks against it.
  std::vector<Shortcut> Redirects() const { return redirect_.Shortcuts(); }
  // Looks again whether others have come to the pods' devices or left them.
  void CheckRedirects() { redirect_.Check(); }
  // Why no pod gets express connections; empty: those that ask for it do.
  const std::string& ExpressOff() { return express_.WhyOff(); }

  std::optional<CapturedConnection> OriginalDestination(uint64_t netns_cookie, const SocketAddress& peer,
                                                        const SocketAddress& local) override;
  Status AnnounceClient(int fd, const SocketAddress& client) override;
  Status SetInboundListener(uint64_t netns_cookie, int family, int listener_fd) override;

 private:
  explicit BpfPlane(const BpfPlaneConfig& config);

  Status Attach(const BpfPlaneConfig& config);
  Status OpenMaps();
  void PrepareDirect();

  PinPaths pins_;
  OtherVersions other_versions_;
  ProgramSet programs_;
  ConfigEntry config_;
  PodTable pods_;
  FlowTable flows_;
  Newcomers newcomers_;
  Redirect redirect_;
  Express express_;
  std::unique_ptr<DirectTable> direct_;
  std::string direct_off_;
  std::optional<OpenConnections> open_connections_;
  PinnedMap<int, weft_address> clients_;
  PinnedMap<weft_listener_key, uint64_t> listeners_;
  UniqueFd counters_;
  // Of the pods that this process has captured.
  std::unordered_map<uint64_t, NetNs> namespaces_;
  // Since the last sweep, verdicts have been expired.
  bool stale_verdicts_ = true;
};

}  // namespace weft
