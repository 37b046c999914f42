#include "bpf/redirect_device.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <map>
#include <optional>

namespace weft {
namespace {

constexpr char kVeth[] = "veth";
constexpr char kBridge[] = "bridge";

std::optional<IpAddress> AddressOf(Bytes message) {
  const Bytes attributes = AttributesOf<ifaddrmsg>(message);
  // IFA_LOCAL is the own address where the two differ (point-to-point); IPv6 has IFA_ADDRESS only.
  std::optional<Bytes> value = FindAttribute(attributes, IFA_LOCAL);
  if (!value) value = FindAttribute(attributes, IFA_ADDRESS);
  if (!value) return std::nullopt;
  if (value->size() == sizeof(in_addr)) {
    in_addr ip{};
    std::memcpy(&ip, value->data(), sizeof(ip));
    return IpAddress::FromV4(ip);
  }
  if (value->size() != sizeof(in6_addr)) return std::nullopt;
  in6_addr ip{};
  std::memcpy(&ip, value->data(), sizeof(ip));
  return IpAddress::FromV6(ip);
}

Result<uint32_t> DeviceWithAddresses(NetlinkSocket& netlink, std::span<const IpAddress> addresses) {
  std::map<IpAddress, uint32_t> devices;
  const Status asked = netlink.Ask({RTM_GETADDR, NLM_F_DUMP, ifaddrmsg{}}, [&](Bytes message) {
    const std::optional<IpAddress> ip = AddressOf(message);
    if (ip) devices[*ip] = HeaderOf<ifaddrmsg>(message).ifa_index;
  });
  if (!asked) return asked.error();
  uint32_t found = 0;
  for (const IpAddress& ip : addresses) {
    const auto device = devices.find(ip);
    if (device == devices.end()) return Error{ENODEV, "no device in the pod has its address " + ip.ToString()};
    if (found != 0 && found != device->second) return Error{ENODEV, "the pod's addresses are on several devices"};
    found = device->second;
  }
  return found;
}

// A non-zero byte in nested attributes.
bool HasFlag(Bytes attributes, uint16_t nest, uint16_t type) {
  const std::optional<Bytes> nested = FindAttribute(attributes, nest);
  const std::optional<Bytes> value = nested ? FindAttribute(*nested, type) : std::nullopt;
  return value && !value->empty() && value->front() != 0;
}

Device ParseDevice(Bytes message) {
  const Bytes attributes = AttributesOf<ifinfomsg>(message);
  Device device;
  device.ifindex = static_cast<uint32_t>(HeaderOf<ifinfomsg>(message).ifi_index);
  device.name = StringAttribute(attributes, IFLA_IFNAME);
  device.link = NumberAttribute(attributes, IFLA_LINK).value_or(0);
  device.link_netnsid = static_cast<int32_t>(NumberAttribute(attributes, IFLA_LINK_NETNSID).value_or(UINT32_MAX));
  device.master = NumberAttribute(attributes, IFLA_MASTER).value_or(0);
  if (const std::optional<Bytes> info = FindAttribute(attributes, IFLA_LINKINFO)) {
    device.kind = StringAttribute(*info, IFLA_INFO_KIND);
    device.master_kind = StringAttribute(*info, IFLA_INFO_SLAVE_KIND);
    if (device.kind == kBridge) device.filters_vlans = HasFlag(*info, IFLA_INFO_DATA, IFLA_BR_VLAN_FILTERING);
    if (device.master_kind == kBridge) device.isolated = HasFlag(*info, IFLA_INFO_SLAVE_DATA, IFLA_BRPORT_ISOLATED);
  }
  device.has_xdp = HasFlag(attributes, IFLA_XDP, IFLA_XDP_ATTACHED);
  return device;
}

Result<Device> AskDevice(NetlinkSocket& netlink, uint32_t ifindex) {
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(ifindex);
  Device device;
  const Status asked = netlink.Ask({RTM_GETLINK, 0, header}, [&](Bytes message) { device = ParseDevice(message); });
  if (!asked) return asked.error();
  return device;
}

// The number that `from` gives to the namespace `to`; nothing when it has given none.
std::optional<int32_t> NumberOf(const NetNs& to, NetlinkSocket& from) {
  NetlinkRequest request(RTM_GETNSID, 0, rtgenmsg{.rtgen_family = AF_UNSPEC});
  request.Add(NETNSA_FD, static_cast<uint32_t>(to.fd()));
  std::optional<int32_t> number;
  const Status asked = from.Ask(std::move(request), [&](Bytes message) {
    number = static_cast<int32_t>(NumberAttribute(AttributesOf<rtgenmsg>(message), NETNSA_NSID).value_or(UINT32_MAX));
  });
  return asked && number >= 0 ? number : std::nullopt;
}

// Is the other end of `device`, which was found in `here`, in `there`?
bool LeadsTo(const DeviceSpace& there, const Device& device, const DeviceSpace& here) {
  return device.link_netnsid >= 0 && device.link_netnsid == NumberOf(there.netns, here.netlink);
}

// Packets go where an undivided bridge would send them, too.
Status CheckBridge(NetlinkSocket& netlink, const Device& port) {
  if (port.master_kind != kBridge) {
    const std::string kind = port.master_kind.empty() ? "switch" : port.master_kind;
    return Error{ENODEV, port.name + " is a port of a " + kind + ", which may have rules of its own"};
  }
  if (port.isolated) return Error{ENODEV, port.name + " is an isolated port of its bridge"};
  const Result<Device> bridge = AskDevice(netlink, port.master);
  if (!bridge) return bridge.error();
  if (bridge->filters_vlans) return Error{ENODEV, "the bridge " + bridge->name + " keeps VLANs apart"};
  return Ok{};
}

}  // namespace

Result<PodDevice> FindPodDevice(const DeviceSpace& host, const DeviceSpace& pod, std::span<const IpAddress> addresses) {
  const Result<uint32_t> ifindex = DeviceWithAddresses(pod.netlink, addresses);
  if (!ifindex) return ifindex.error();
  Result<Device> inner = AskDevice(pod.netlink, *ifindex);
  if (!inner) return inner.error();
  if (inner->kind != kVeth) {
    const std::string kind = inner->kind.empty() ? "not a virtual device" : "a " + inner->kind + " device";
    return Error{ENODEV, inner->name + " in the pod is " + kind + ", not a veth"};
  }
  // Packets would come in at a device that hands them on by MAC address, which may not be its own.
  if (inner->master != 0) return Error{ENODEV, inner->name + " in the pod is a port of another device"};
  if (!LeadsTo(host, *inner, pod)) {
    return Error{ENODEV, "the other end of " + inner->name + " is not in the agent's network namespace"};
  }
  Result<Device> outer = AskDevice(host.netlink, inner->link);
  if (!outer) return Error{ENODEV, "the other end of " + inner->name + " is gone"};
  if (outer->kind != kVeth || outer->link != inner->ifindex || !LeadsTo(pod, *outer, host)) {
    return Error{ENODEV, outer->name + " does not lead back to " + inner->name + " in the pod"};
  }
  if (outer->master != 0) {
    if (const Status understood = CheckBridge(host.netlink, *outer); !understood) return understood.error();
  }
  return PodDevice{.pod = std::move(*inner), .host = std::move(*outer)};
}

}  // namespace weft
