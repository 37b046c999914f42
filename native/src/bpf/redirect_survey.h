#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "bpf/redirect_device.h"
#include "bpf/redirect_netlink.h"

namespace weft {

// What others have put on the devices of the agent's network namespace that packets would be sent past. Taken once for
// a look at all pods: the kernel gives queueing disciplines and chains of all devices or none.
class HostSurvey {
 public:
  // In the calling thread's namespace, which `netlink` is of too.
  static Result<HostSurvey> Take(NetlinkSocket& netlink);

  // Who would be skipped, for people; nothing when nobody would be. Programs before ours at the same point are not.
  std::optional<std::string> Objection(const PodDevice& device, NetlinkSocket& netlink) const;

 private:
  struct QueueingDisciplines {
    std::string root;
    bool classic_hooks = false;  // ingress or clsact, which tc filters hang on
  };
  // A netfilter chain at a device's ingress or egress.
  struct DeviceChain {
    std::string device;
    bool prefix = false;  // `device` is the beginning of names
    std::string chain;
  };

  Status TakeQueueingDisciplines(NetlinkSocket& netlink);
  void TakeChains();

  std::unordered_map<uint32_t, QueueingDisciplines> qdiscs_;  // by ifindex
  std::vector<DeviceChain> chains_;
};

}  // namespace weft
