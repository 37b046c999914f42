#include "bpf/redirect.h"

#include <net/if.h>

#include <array>
#include <charconv>
#include <cstring>
#include <utility>

#include "bpf/bpffs.h"
#include "bpf/pod_table.h"
#include "bpf/program_set.h"
#include "bpf/redirect_conntrack.h"

namespace weft {
namespace {

std::string Say(const Error& error) { return error.what + ": " + std::strerror(error.code); }

std::string DeviceName(uint32_t ifindex) {
  std::array<char, IF_NAMESIZE> name{};
  return if_indextoname(ifindex, name.data()) != nullptr ? name.data() : std::string();
}

}  // namespace

void Redirect::Open() {
  if (!HasTcx()) {
    unavailable_ = "this kernel lacks tcx links; the oldest kernel that has them is 6.6";
    return;
  }
  const Status opened = OpenAll();
  if (opened) return Adopt();
  unavailable_ = Say(opened.error());
}

Status Redirect::OpenAll() {
  if (const Status made = EnsureBpffsDir(pins_.redirects); !made) return made;
  // Makes the maps, too.
  if (const Result<UniqueFd> tried = programs_.LoadRedirect(0); !tried) return tried.error();
  if (const Status opened = OpenMap(redirects_, pins_.Map("weft_redirects")); !opened) return opened;
  if (const Status opened = OpenMap(devices_, pins_.Map("weft_devices")); !opened) return opened;
  Result<NetNs> own = NetNs::Open("/proc/thread-self/ns/net");
  if (!own) return own.error();
  Result<NetlinkSocket> host = NetlinkSocket::Open(NETLINK_ROUTE);
  if (!host) return host.error();
  own_ = std::move(*own);
  host_ = std::move(*host);
  return Ok{};
}

void Redirect::Adopt() {
  for (const std::string& name : ListDir(pins_.redirects)) {
    uint64_t cookie = 0;
    std::from_chars(name.data(), name.data() + name.size(), cookie);
    const bool ours = pins_.Redirect(cookie) == pins_.redirects + "/" + name;
    if (!ours || !pods_.Get(cookie)) {
      static_cast<void>(RemovePin(pins_.redirects + "/" + name));
      continue;
    }
    Pod& pod = known_[cookie];
    pod.link = TcxLink::Adopt(pins_.Redirect(cookie));
    if (pod.link) pod.device = DeviceName(pod.link->ifindex());
  }
}

void Redirect::AddPod(uint64_t cookie, const NetNs& netns, const std::vector<IpAddress>& addresses) {
  Pod& pod = known_[cookie];
  pod.netns = &netns;
  pod.addresses = addresses;
  pod.off = unavailable_;
  if (!unavailable_.empty()) return;
  const Status opened = RunInNetNs(netns, [&]() -> Status {
    Result<NetlinkSocket> netlink = NetlinkSocket::Open(NETLINK_ROUTE);
    if (!netlink) return netlink.error();
    pod.netlink = std::move(*netlink);
    return Ok{};
  });
  const Result<HostSurvey> survey = HostSurvey::Take(*host_);
  if (opened && survey) return Look(cookie, pod, *survey);
  TurnOff(cookie, pod);
  pod.off = Say(opened ? survey.error() : opened.error());
}

void Redirect::RemovePod(uint64_t cookie) {
  const auto known = known_.find(cookie);
  if (known == known_.end()) return;
  if (unavailable_.empty()) TurnOff(cookie, known->second);
  known_.erase(known);
}

void Redirect::Check() {
  if (!unavailable_.empty() || known_.empty()) return;
  const Result<HostSurvey> survey = HostSurvey::Take(*host_);
  if (!survey) return;  // nothing new is known
  for (auto& [cookie, pod] : known_) {
    if (pod.netlink) Look(cookie, pod, *survey);
  }
}

std::vector<Shortcut> Redirect::Shortcuts() const {
  std::vector<Shortcut> all;
  for (const auto& [cookie, pod] : known_) all.push_back({.pod = cookie, .device = pod.device, .off = pod.off});
  return all;
}

void Redirect::Look(uint64_t cookie, Pod& pod, const HostSurvey& survey) {
  const Result<PodDevice> device = FindPodDevice({*own_, *host_}, {*pod.netns, *pod.netlink}, pod.addresses);
  pod.device = device ? device->host.name : std::string();
  const std::optional<std::string> objection =
      device ? survey.Objection(*device, *host_) : std::optional(device.error().what);
  Status on = Ok{};
  if (!objection) on = TurnOn(cookie, pod, device->host);
  if (objection || !on) TurnOff(cookie, pod);
  pod.off = on ? objection.value_or("") : Say(on.error());
}

Status Redirect::TurnOn(uint64_t cookie, Pod& pod, const Device& device) {
  const std::optional<weft_pod> facts = pods_.Get(cookie);
  if (!facts) return Error{ENOENT, "the pod is not captured"};
  // The pod has another device than before.
  if (facts->ifindex != 0 && facts->ifindex != device.ifindex) TurnOff(cookie, pod);
  if (const Status attached = AttachLast(cookie, pod, device.ifindex); !attached) return attached;
  if (const Status offered = OfferDevice(cookie, device.ifindex); !offered) return offered;
  if (facts->ifindex == device.ifindex) return Ok{};
  return pods_.SetDevice(cookie, device.ifindex);
}

Status Redirect::AttachLast(uint64_t cookie, Pod& pod, uint32_t ifindex) {
  const std::string path = pins_.Redirect(cookie);
  if (!pod.link) pod.link = TcxLink::Adopt(path);
  const std::vector<uint32_t> chain = TcxPrograms(ifindex, TcxPoint::kIngress);
  const bool last =
      pod.link && pod.link->ifindex() == ifindex && !chain.empty() && chain.back() == pod.link->program_id();
  if (last && pod.our_code) return Ok{};
  const Result<UniqueFd> program = programs_.LoadRedirect(cookie);
  if (!program) return program.error();
  if (last) {
    if (const Status updated = pod.link->Update(program->get()); !updated) return updated;
  } else {
    // Whoever has come behind ours would be skipped; it comes before ours now.
    Result<TcxLink> link = TcxLink::Attach(program->get(), ifindex, path);
    if (!link) return link.error();
    pod.link = std::move(*link);
  }
  pod.our_code = true;
  return Ok{};
}

Status Redirect::OfferDevice(uint64_t cookie, uint32_t ifindex) {
  if (devices_.Get(ifindex)) return Ok{};
  // A new device. Nothing of a device that had its number before may lead into it.
  for (auto& [other, pod] : known_) {
    const std::optional<weft_pod> facts = pods_.Get(other);
    if (other != cookie && facts && facts->ifindex == ifindex) TurnOff(other, pod);
  }
  redirects_.RemoveMany(RedirectsOf(cookie, ifindex));
  return devices_.Set(ifindex, ifindex);
}

void Redirect::TurnOff(uint64_t cookie, Pod& pod) {
  const std::optional<weft_pod> facts = pods_.Get(cookie);
  const uint32_t ifindex = facts ? facts->ifindex : 0;
  if (ifindex == 0 && !pod.link) return;
  // No new connections, then both directions of the open ones.
  if (ifindex != 0) static_cast<void>(pods_.SetDevice(cookie, 0));
  const std::vector<weft_flow_key> keys = RedirectsOf(cookie, ifindex);
  ForgetConnections(keys);
  if (ifindex != 0) devices_.Remove(ifindex);
  static_cast<void>(RemovePin(pins_.Redirect(cookie)));
  pod.link.reset();
  pod.our_code = false;
  redirects_.RemoveMany(keys);
}

std::vector<weft_flow_key> Redirect::RedirectsOf(uint64_t cookie, uint32_t ifindex) const {
  std::vector<weft_flow_key> keys;
  for (const auto& [key, redirect] : redirects_.Entries()) {
    if (key.netns == cookie || redirect.ifindex == ifindex) keys.push_back(key);
  }
  return keys;
}

void ForgetRedirects(const std::string& pin_dir) {
  const PinPaths pins(pin_dir);
  const Result<PinnedMap<weft_flow_key, weft_redirect>> redirects =
      PinnedMap<weft_flow_key, weft_redirect>::Open(pins.Map("weft_redirects"));
  if (!redirects) return;
  const std::vector<weft_flow_key> keys = redirects->Keys();
  ForgetConnections(keys);
}

}  // namespace weft
