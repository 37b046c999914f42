#include "bpf/pod_table.h"

#include <algorithm>
#include <random>

#include "bpf/abi_convert.h"
#include "bpf/program_set.h"

namespace weft {
namespace {

// A pod that comes back must not count what was decided about connections to it before it left: connect() may be long
// ago when its SYN leaves.
weft_pod NewPod() {
  weft_pod pod{};
  pod.epoch = std::random_device{}();
  return pod;
}

}  // namespace

Status PodTable::Open(const PinPaths& pins) {
  if (const Status opened = OpenMap(pods_, pins.Map("weft_pods")); !opened) return opened;
  return OpenMap(own_addrs_, pins.Map("weft_own_addrs"));
}

Status PodTable::SetAddresses(uint64_t pod, const std::vector<IpAddress>& addresses) {
  for (const IpAddress& ip : addresses) {
    const weft_own_addr key{.netns = pod, .ip = ToAbi(ip)};
    if (const Status added = own_addrs_.Set(key, 1); !added) return added;
  }
  const auto still_own = [&](const IpAddress& ip) {
    return std::find(addresses.begin(), addresses.end(), ip) != addresses.end();
  };
  for (const weft_own_addr& own : own_addrs_.Keys()) {
    if (own.netns == pod && !still_own(FromAbi(own.ip))) own_addrs_.Remove(own);
  }
  return Ok{};
}

Status PodTable::Set(uint64_t pod, const CapturedPod& facts) {
  weft_pod value = pods_.Get(pod).value_or(NewPod());
  value.flags &= WEFT_POD_OPEN;
  value.ip4 = {};
  value.ip6 = {};
  if (facts.dns) value.flags |= WEFT_POD_DNS;
  if (facts.express) value.flags |= WEFT_POD_EXPRESS;
  for (const IpAddress& ip : facts.addresses) {
    const uint32_t flag = ip.is_v4() ? WEFT_POD_HAS_IP4 : WEFT_POD_HAS_IP6;
    if ((value.flags & flag) != 0) continue;
    value.flags |= flag;
    (ip.is_v4() ? value.ip4 : value.ip6) = ToAbi(ip);
  }
  return pods_.Set(pod, value);
}

void PodTable::Remove(uint64_t pod) { pods_.Remove(pod); }

template <typename Change>
Status PodTable::Update(uint64_t pod, Change change) {
  std::optional<weft_pod> value = pods_.Get(pod);
  if (!value) return Error{ENOENT, "pod " + std::to_string(pod) + " is not captured"};
  change(*value);
  return pods_.Set(pod, *value);
}

Status PodTable::ExpireVerdicts(uint64_t pod) {
  return Update(pod, [](weft_pod& value) { ++value.epoch; });
}

Status PodTable::SetOpen(uint64_t pod, bool open) {
  return Update(
      pod, [&](weft_pod& value) { value.flags = open ? value.flags | WEFT_POD_OPEN : value.flags & ~WEFT_POD_OPEN; });
}

Status PodTable::SetDevice(uint64_t pod, uint32_t ifindex) {
  return Update(pod, [&](weft_pod& value) { value.ifindex = ifindex; });
}

}  // namespace weft
