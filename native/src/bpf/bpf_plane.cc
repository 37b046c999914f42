#include "bpf/bpf_plane.h"

#include <bpf/libbpf.h>

#include <algorithm>
#include <charconv>
#include <mutex>
#include <set>

#include "bpf/abi_convert.h"
#include "bpf/bpffs.h"
#include "bpf/cgroup.h"
#include "bpf/features.h"
#include "net/netns.h"

namespace weft {
namespace {

std::optional<uint64_t> ParseCookie(const std::string& name) {
  uint64_t cookie = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), cookie);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return cookie;
}

weft_pod DescribePod(const CapturedPod& pod) {
  weft_pod value{};
  if (pod.dns) value.flags |= WEFT_POD_DNS;
  for (const IpAddress& ip : pod.addresses) {
    const uint32_t flag = ip.is_v4() ? WEFT_POD_HAS_IP4 : WEFT_POD_HAS_IP6;
    if ((value.flags & flag) != 0) continue;
    value.flags |= flag;
    (ip.is_v4() ? value.ip4 : value.ip6) = ToAbi(ip);
  }
  return value;
}

template <typename Key, typename Value>
Status OpenMap(PinnedMap<Key, Value>& map, const PinPaths& pins, const char* name) {
  Result<PinnedMap<Key, Value>> opened = PinnedMap<Key, Value>::Open(pins.Map(name));
  if (!opened) return opened.error();
  map = std::move(*opened);
  return Ok{};
}

std::vector<std::string> OtherVersions(const std::string& pin_dir, const std::string& ours) {
  std::vector<std::string> roots = VersionDirs(pin_dir);
  std::erase(roots, ours);
  return roots;
}

}  // namespace

BpfPlane::BpfPlane(const BpfPlaneConfig& config)
    : pin_dir_(config.pin_dir), pins_(config.pin_dir), programs_(pins_, MapSizes{.flows = config.max_flows}) {}

Result<std::shared_ptr<BpfPlane>> BpfPlane::Load(const BpfPlaneConfig& config) {
  if (const Status privileged = CheckPrivileges(); !privileged) return privileged.error();
  if (const Status complete = CheckFeatures(CaptureFeatures()); !complete) return complete.error();
  std::shared_ptr<BpfPlane> plane(new BpfPlane(config));
  if (const Status attached = plane->Attach(config); !attached) return attached.error();
  return plane;
}

Status BpfPlane::Attach(const BpfPlaneConfig& config) {
  const Result<Cgroup> pods = Cgroup::Open(config.pods_cgroup);
  if (!pods) return pods.error();
  const Result<Cgroup> agent = Cgroup::Open(config.agent_cgroup);
  if (!agent) return agent.error();
  if (agent->Contains(*pods)) {
    return Error{EINVAL, "the agent's cgroup " + agent->path + " contains the pods' cgroup " + pods->path +
                             ", which would exempt every pod; run the agent in a cgroup of its own"};
  }
  std::optional<Cgroup> kubelet;
  if (config.kubelet_cgroup) {
    Result<Cgroup> opened = Cgroup::Open(*config.kubelet_cgroup);
    if (!opened) return opened.error();
    if (opened->Contains(*pods)) {
      return Error{EINVAL, "the kubelet's cgroup " + opened->path + " contains the pods' cgroup " + pods->path +
                               ", which would make every pod's connection a probe; name the kubelet's own cgroup"};
    }
    kubelet = std::move(*opened);
  }

  for (const std::string& dir : {pins_.maps, pins_.links, pins_.pods}) {
    if (const Status made = EnsureBpffsDir(dir); !made) return made;
  }
  // Pods that an earlier process captured are captured all the while; new ones are not before CapturePod, so the agent
  // may be exempted last.
  if (const Status tried = programs_.TryPod(); !tried) return tried;
  if (const Status attached = programs_.AttachPods(*pods); !attached) return attached;
  if (const Status opened = OpenMaps(); !opened) return opened;
  if (const Status exempt = ExemptAgent(*agent); !exempt) return exempt;
  if (const Status attached = programs_.AttachAgent(pods->Contains(*agent) ? nullptr : &*agent); !attached) {
    return attached;
  }
  if (const Status attached = programs_.AttachKubelet(kubelet ? &*kubelet : nullptr); !attached) return attached;
  AdoptAddresses();
  RemoveOtherVersions(0);
  return Ok{};
}

Status BpfPlane::OpenMaps() {
  if (const Status opened = OpenMap(pods_, pins_, "weft_pods"); !opened) return opened;
  if (const Status opened = OpenMap(own_addrs_, pins_, "weft_own_addrs"); !opened) return opened;
  if (const Status opened = OpenMap(flows_, pins_, "weft_flows"); !opened) return opened;
  if (const Status opened = OpenMap(clients_, pins_, "weft_client"); !opened) return opened;
  if (const Status opened = OpenMap(listeners_, pins_, "weft_listeners"); !opened) return opened;
  if (const Status opened = OpenMap(config_, pins_, "weft_config"); !opened) return opened;
  counters_ = UniqueFd(bpf_obj_get(pins_.Map("weft_counters").c_str()));
  if (!counters_) return Error{errno, "open pinned map weft_counters"};
  return Ok{};
}

Status BpfPlane::ExemptAgent(const Cgroup& agent) {
  weft_config config = config_.Get(0).value_or(weft_config{});
  if (config.agents[0].cgroup == agent.id) return Ok{};
  // The agent before us may still be draining.
  std::move_backward(std::begin(config.agents), std::end(config.agents) - 1, std::end(config.agents));
  config.agents[0] = {.cgroup = agent.id, .level = agent.level, ._pad = 0};
  return config_.Set(0, config);
}

void BpfPlane::AdoptAddresses() {
  const std::unique_lock lock(mutex_);
  for (const weft_own_addr& own : own_addrs_.Keys()) pod_by_address_[FromAbi(own.ip)] = own.netns;
}

Result<uint64_t> BpfPlane::CapturePod(const CapturedPod& pod) {
  if (pod.addresses.empty()) return Error{EINVAL, "pod in " + pod.netns_path + " has no address"};
  const Result<NetNs> netns = NetNs::Open(pod.netns_path.c_str());
  if (!netns) return netns.error();
  const Result<NetNs> own = NetNs::Open("/proc/self/ns/net");
  if (!own) return own.error();
  // A mistaken pid would otherwise capture the node itself, the kubelet and this agent included.
  if (own->SameAs(*netns)) return Error{EINVAL, pod.netns_path + " is the agent's own network namespace, not a pod's"};
  const Result<uint64_t> cookie = netns->Cookie();
  if (!cookie) return cookie.error();

  const bool was_captured = pods_.Get(*cookie).has_value();
  // Own addresses first (they are what stays untouched), then inbound, then outbound.
  Status status = SetAddresses(*cookie, pod.addresses);
  if (status) status = programs_.AttachPod(*cookie, netns->fd());
  if (status) status = pods_.Set(*cookie, DescribePod(pod));
  if (!status) {
    // Letting go of a pod that was captured before would put its plaintext on the wire; it keeps what it had.
    if (!was_captured) static_cast<void>(ReleasePod(*cookie));
    return status.error();
  }
  RemoveOtherVersions(*cookie);
  return *cookie;
}

Status BpfPlane::SetAddresses(uint64_t cookie, const std::vector<IpAddress>& addresses) {
  for (const IpAddress& ip : addresses) {
    const weft_own_addr key{.netns = cookie, .ip = ToAbi(ip)};
    if (const Status added = own_addrs_.Set(key, 1); !added) return added;
  }
  const auto still_own = [&](const IpAddress& ip) {
    return std::find(addresses.begin(), addresses.end(), ip) != addresses.end();
  };
  for (const weft_own_addr& own : own_addrs_.Keys()) {
    if (own.netns == cookie && !still_own(FromAbi(own.ip))) own_addrs_.Remove(own);
  }
  const std::unique_lock lock(mutex_);
  std::erase_if(pod_by_address_, [&](const auto& entry) { return entry.second == cookie; });
  for (const IpAddress& ip : addresses) pod_by_address_[ip] = cookie;
  return Ok{};
}

Status BpfPlane::ReleasePod(uint64_t cookie) {
  pods_.Remove(cookie);
  const Status detached = RemovePin(pins_.Pod(cookie));
  for (const uint32_t family : {AF_INET, AF_INET6}) {
    listeners_.Remove({.netns = cookie, .family = family, ._pad = 0});
  }
  static_cast<void>(SetAddresses(cookie, {}));
  PurgeFlows(cookie);
  RemoveOtherVersions(cookie);
  return detached;
}

void BpfPlane::PurgeFlows(uint64_t cookie) {
  for (const weft_flow_key& key : flows_.Keys()) {
    if (key.netns == cookie) flows_.Remove(key);
  }
}

// Another ABI version's capture of a pod ends when ours has begun, or when the pod is released; the version itself goes
// with its last pod. Until then its connect program still steers to 15001, where nobody knows the original
// destination: refused, never plaintext.
void BpfPlane::RemoveOtherVersions(uint64_t cookie) {
  for (const std::string& root : OtherVersions(pin_dir_, pins_.root)) {
    static_cast<void>(RemovePin(root + "/pods/" + std::to_string(cookie)));
    if (ListDir(root + "/pods").empty()) static_cast<void>(RemovePinTree(root));
  }
}

std::vector<uint64_t> BpfPlane::CapturedPods() const {
  std::set<uint64_t> cookies;
  std::vector<std::string> roots = OtherVersions(pin_dir_, pins_.root);
  roots.push_back(pins_.root);
  for (const std::string& root : roots) {
    for (const std::string& name : ListDir(root + "/pods")) {
      if (const std::optional<uint64_t> cookie = ParseCookie(name)) cookies.insert(*cookie);
    }
  }
  for (const uint64_t cookie : pods_.Keys()) cookies.insert(cookie);
  return {cookies.begin(), cookies.end()};
}

std::vector<uint64_t> BpfPlane::Counters() const {
  std::vector<uint64_t> sums(WEFT_R_MAX);
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return sums;
  std::vector<uint64_t> per_cpu(static_cast<size_t>(cpus));
  for (uint32_t reason = 0; reason < WEFT_R_MAX; ++reason) {
    if (bpf_map_lookup_elem(counters_.get(), &reason, per_cpu.data()) != 0) continue;
    for (const uint64_t count : per_cpu) sums[reason] += count;
  }
  return sums;
}

std::optional<CapturedConnection> BpfPlane::OriginalDestination(const SocketAddress& peer, const SocketAddress& local) {
  weft_flow_key key{};
  {
    const std::shared_lock lock(mutex_);
    const auto pod = pod_by_address_.find(local.ip);
    if (pod == pod_by_address_.end()) return std::nullopt;
    key.netns = pod->second;
  }
  key.src = ToAbi(peer.ip);
  key.dst = ToAbi(local.ip);
  key.src_port = peer.port;
  key.dst_port = local.port;
  const std::optional<weft_flow> flow = flows_.Get(key);
  if (!flow || flow->kind != WEFT_FLOW_ORIG_DST) return std::nullopt;
  return CapturedConnection{FromAbi(flow->address), flow->endpoint};
}

Status BpfPlane::AnnounceClient(int fd, const SocketAddress& client) { return clients_.Set(fd, ToAbi(client)); }

Status BpfPlane::SetInboundListener(uint64_t netns_cookie, int family, int listener_fd) {
  const weft_listener_key key{.netns = netns_cookie, .family = static_cast<uint32_t>(family), ._pad = 0};
  return listeners_.Set(key, static_cast<uint64_t>(listener_fd));
}

}  // namespace weft
