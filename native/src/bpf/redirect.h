#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "bpf/pinned_map.h"
#include "bpf/redirect_device.h"
#include "bpf/redirect_link.h"
#include "bpf/redirect_netlink.h"
#include "bpf/redirect_survey.h"
#include "net/ip_address.h"
#include "net/netns.h"
#include "weft_abi.h"

namespace weft {

class PodTable;
class ProgramSet;
struct PinPaths;

// Whether packets between this pod and others of the node go past the host.
struct Shortcut {
  uint64_t pod = 0;
  std::string device;  // the host's end of the pod's device; empty: none was found
  std::string off;     // why not; empty: they do
};

// Peer redirect, pod by pod: on wherever the pod's device is understood and nobody else would be skipped. A pod is on
// in both directions or in none, because a host that sees half a connection takes it for nonsense. One thread.
class Redirect {
 public:
  Redirect(const PinPaths& pins, const ProgramSet& programs, PodTable& pods)
      : pins_(pins), programs_(programs), pods_(pods) {}

  // Goes on with what an earlier process pinned. Where that cannot be, every pod is off, with the reason.
  void Open();

  // A captured pod, or one whose facts may have changed. `netns` stays until RemovePod. What goes wrong is the reason
  // why it is off.
  void AddPod(uint64_t pod, const NetNs& netns, const std::vector<IpAddress>& addresses);
  // Before the pod is no longer captured. Its open connections go on by the ordinary way.
  void RemovePod(uint64_t pod);
  // Looks again at all pods.
  void Check();
  std::vector<Shortcut> Shortcuts() const;

 private:
  struct Pod {
    const NetNs* netns = nullptr;
    std::optional<NetlinkSocket> netlink;  // in the pod's namespace
    std::vector<IpAddress> addresses;
    std::optional<TcxLink> link;
    std::string device;
    std::string off;
    bool our_code = false;  // the link runs what this process has loaded
  };

  Status OpenAll();
  void Adopt();
  void Look(uint64_t cookie, Pod& pod, const HostSurvey& survey);
  Status TurnOn(uint64_t cookie, Pod& pod, const Device& device);
  void TurnOff(uint64_t cookie, Pod& pod);
  Status AttachLast(uint64_t cookie, Pod& pod, uint32_t ifindex);
  Status OfferDevice(uint64_t cookie, uint32_t ifindex);
  // Redirects from the pod and into the device.
  std::vector<weft_flow_key> RedirectsOf(uint64_t cookie, uint32_t ifindex) const;

  const PinPaths& pins_;
  const ProgramSet& programs_;
  PodTable& pods_;
  std::string unavailable_;  // why no pod can be on
  std::optional<NetNs> own_;
  std::optional<NetlinkSocket> host_;
  PinnedMap<weft_flow_key, weft_redirect> redirects_;
  PinnedMap<uint32_t, uint32_t> devices_;
  std::map<uint64_t, Pod> known_;
};

// Before the pins in this folder go: lets the open connections go on by the ordinary way without delay.
void ForgetRedirects(const std::string& pin_dir);

}  // namespace weft
