#include "bpf/bpf_plane.h"

#include <bpf/libbpf.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "bpf/abi_convert.h"
#include "bpf/bpffs.h"
#include "bpf/cgroup.h"
#include "bpf/features.h"
#include "bpf/socket_diag.h"

namespace weft {

BpfPlane::BpfPlane(const BpfPlaneConfig& config)
    : pins_(config.pin_dir),
      other_versions_(config.pin_dir, pins_.root),
      programs_(pins_, MapSizes{.flows = config.max_flows}),
      redirect_(pins_, programs_, pods_),
      express_(pins_) {}

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
  const MapSizes sizes{.flows = config.max_flows};
  if (const Status opened = newcomers_.Open(pins_, sizes, *pods); !opened) return opened;
  if (const Status exempt = config_.ExemptAgent(*agent); !exempt) return exempt;
  if (const Status attached = programs_.AttachAgent(pods->Contains(*agent) ? nullptr : &*agent); !attached) {
    return attached;
  }
  if (const Status attached = programs_.AttachKubelet(kubelet ? &*kubelet : nullptr); !attached) return attached;
  PrepareDirect();
  express_.StartTest(config.agent_cgroup);
  redirect_.Open();
  other_versions_.Sweep();
  return Ok{};
}

void BpfPlane::PrepareDirect() {
  if (const Status destroys = CheckSocketDestroy(); !destroys) {
    direct_off_ = destroys.error().what + ": " + std::strerror(destroys.error().code);
    return;
  }
  Result<OpenConnections> connections = OpenConnections::Load(pins_);
  if (connections) {
    open_connections_ = std::move(*connections);
  } else {
    direct_off_ = connections.error().what + ": " + std::strerror(connections.error().code);
  }
}

Status BpfPlane::OpenMaps() {
  if (const Status opened = config_.Open(pins_); !opened) return opened;
  if (const Status opened = pods_.Open(pins_); !opened) return opened;
  if (const Status opened = flows_.Open(pins_); !opened) return opened;
  if (const Status opened = OpenMap(clients_, pins_.Map("weft_client")); !opened) return opened;
  if (const Status opened = OpenMap(listeners_, pins_.Map("weft_listeners")); !opened) return opened;
  auto direct_maps = std::make_unique<PinnedDirectMaps>();
  if (const Status opened = direct_maps->Open(pins_); !opened) return opened;
  direct_ = std::make_unique<DirectTable>(std::move(direct_maps));
  counters_ = UniqueFd(bpf_obj_get(pins_.Map("weft_counters").c_str()));
  if (!counters_) return Error{errno, "open pinned map weft_counters"};
  return Ok{};
}

Result<uint64_t> BpfPlane::CapturePod(const CapturedPod& pod) {
  if (pod.addresses.empty()) return Error{EINVAL, "pod in " + pod.netns_path + " has no address"};
  Result<NetNs> netns = NetNs::Open(pod.netns_path.c_str());
  if (!netns) return netns.error();
  const Result<NetNs> own = NetNs::Open("/proc/self/ns/net");
  if (!own) return own.error();
  // A mistaken pid would otherwise capture the node itself, the kubelet and this agent included.
  if (own->SameAs(*netns)) return Error{EINVAL, pod.netns_path + " is the agent's own network namespace, not a pod's"};
  const Result<uint64_t> cookie = netns->Cookie();
  if (!cookie) return cookie.error();

  const bool was_captured = pods_.Get(*cookie).has_value();
  // Own addresses first (they are what stays untouched), then inbound, then outbound.
  Status status = pods_.SetAddresses(*cookie, pod.addresses);
  if (status) status = programs_.AttachPod(*cookie, netns->fd());
  CapturedPod facts = pod;
  facts.express = pod.express && express_.Offer(*cookie, netns->fd());
  if (!facts.express) express_.Release(*cookie);
  if (status) status = pods_.Set(*cookie, facts);
  if (!status) {
    // Letting go of a pod that was captured before would put its plaintext on the wire; it keeps what it had.
    if (!was_captured) static_cast<void>(ReleasePod(*cookie));
    return status.error();
  }
  namespaces_.insert_or_assign(*cookie, std::move(*netns));
  redirect_.AddPod(*cookie, namespaces_.at(*cookie), pod.addresses);
  other_versions_.Release(*cookie);
  return *cookie;
}

Status BpfPlane::ReleasePod(uint64_t pod) {
  // While the pod is captured still: whatever comes back under this cookie finds no verdict of an earlier time.
  direct_->PurgePod(pod);
  redirect_.RemovePod(pod);
  express_.Release(pod);
  pods_.Remove(pod);
  const Status detached = RemovePin(pins_.Pod(pod));
  for (const uint32_t family : {AF_INET, AF_INET6}) {
    listeners_.Remove({.netns = pod, .family = family, ._pad = 0});
  }
  static_cast<void>(pods_.SetAddresses(pod, {}));
  flows_.PurgePod(pod);
  namespaces_.erase(pod);
  other_versions_.Release(pod);
  return detached;
}

std::vector<uint64_t> BpfPlane::CapturedPods() const {
  std::set<uint64_t> all;
  for (const std::vector<uint64_t>& some : {other_versions_.Pods(), PinnedPods(pins_.root), pods_.Pods()}) {
    all.insert(some.begin(), some.end());
  }
  return {all.begin(), all.end()};
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

Status BpfPlane::SetRoute(uint64_t pod, const SocketAddress& destination, std::span<const DirectEndpoint> endpoints) {
  if (!pods_.Get(pod)) return Error{ENOENT, "pod " + std::to_string(pod) + " is not captured"};
  const bool direct = std::any_of(endpoints.begin(), endpoints.end(),
                                  [](const DirectEndpoint& endpoint) { return endpoint.kind == WEFT_ENDPOINT_DIRECT; });
  if (direct && !direct_off_.empty()) {
    direct_->RemoveRoute(pod, destination);
    return Error{EOPNOTSUPP, direct_off_};
  }
  return direct_->SetRoute(pod, destination, endpoints);
}

Status BpfPlane::SetVerdict(const weft_verdict_key& key, bool allow) {
  const std::optional<weft_pod> destination = pods_.Get(key.dst_netns);
  if (!destination) return Error{ENOENT, "pod " + std::to_string(key.dst_netns) + " is not captured"};
  if (!pods_.Get(key.src_netns)) return Error{ENOENT, "pod " + std::to_string(key.src_netns) + " is not captured"};
  const weft_verdict verdict{.epoch = destination->epoch, .allow = allow ? 1U : 0U};
  const Status set = direct_->SetVerdict(key, verdict);
  if (set || set.error().code != ENOSPC || !std::exchange(stale_verdicts_, false)) return set;
  direct_->SweepVerdicts([this](uint64_t pod) -> std::optional<uint32_t> {
    const std::optional<weft_pod> facts = pods_.Get(pod);
    return facts ? std::optional(facts->epoch) : std::nullopt;
  });
  return direct_->SetVerdict(key, verdict);
}

Status BpfPlane::ExpireVerdicts(uint64_t pod) {
  stale_verdicts_ = true;
  return pods_.ExpireVerdicts(pod);
}

Status BpfPlane::SetOpen(uint64_t pod, bool open) {
  if (open && !direct_off_.empty()) return Error{EOPNOTSUPP, direct_off_};
  return pods_.SetOpen(pod, open);
}

Result<std::vector<weft_event>> BpfPlane::DirectConnections() const {
  if (!open_connections_) return std::vector<weft_event>{};
  return open_connections_->Read(flows_);
}

std::optional<CapturedConnection> BpfPlane::OriginalDestination(uint64_t netns_cookie, const SocketAddress& peer,
                                                                const SocketAddress& local) {
  return flows_.Find(netns_cookie, peer, local);
}

Status BpfPlane::AnnounceClient(int fd, const SocketAddress& client) { return clients_.Set(fd, ToAbi(client)); }

Status BpfPlane::SetInboundListener(uint64_t netns_cookie, int family, int listener_fd) {
  const weft_listener_key key{.netns = netns_cookie, .family = static_cast<uint32_t>(family), ._pad = 0};
  return listeners_.Set(key, static_cast<uint64_t>(listener_fd));
}

}  // namespace weft
