#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "bpf/redirect_netlink.h"
#include "net/ip_address.h"
#include "net/netns.h"

namespace weft {

// A network namespace to ask about its devices.
struct DeviceSpace {
  const NetNs& netns;
  NetlinkSocket& netlink;
};

// What the kernel says about one network device.
struct Device {
  uint32_t ifindex = 0;
  std::string name;
  std::string kind;  // empty: a device of hardware, or loopback
  // The device at the other end or below; 0: none.
  uint32_t link = 0;
  // Which namespace `link` is in, by the number that the asked namespace gives it; -1: the same.
  int32_t link_netnsid = -1;
  // The bridge, bond or other device that this one is a port of; 0: none.
  uint32_t master = 0;
  // What kind that is; empty for kinds that do not say, such as Open vSwitch.
  std::string master_kind;
  // As a port of a bridge: may it talk to other isolated ones? As a bridge: are there several networks in it?
  bool isolated = false;
  bool filters_vlans = false;
  bool has_xdp = false;
};

// The two ends of the device through which a pod talks.
struct PodDevice {
  Device pod;   // in the pod's namespace
  Device host;  // in the agent's
};

// The veth that carries all of these addresses in the pod's namespace, with its other end in the agent's own and each
// end naming the other; there it stands alone or is a port of an undivided bridge. An Error's text says for people why
// there is none.
Result<PodDevice> FindPodDevice(const DeviceSpace& host, const DeviceSpace& pod, std::span<const IpAddress> addresses);

}  // namespace weft
