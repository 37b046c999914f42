#include "bpf/redirect_survey.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <unistd.h>

#include <fstream>

#include "bpf/redirect_link.h"

namespace weft {
namespace {

// What veth devices have unless somebody gives them something else.
constexpr char kNoQueue[] = "noqueue";
constexpr uint32_t kClassicIngress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
constexpr uint32_t kClassicEgress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS);
// Not in the headers that we build with.
constexpr uint16_t kDevicePrefix = NFTA_DEVICE_NAME + 1;

bool HasFilters(NetlinkSocket& netlink, uint32_t ifindex, uint32_t parent) {
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(ifindex);
  header.tcm_parent = parent;
  bool found = false;
  const Status asked = netlink.Ask({RTM_GETTFILTER, NLM_F_DUMP, header}, [&](Bytes) { found = true; });
  return asked && found;
}

// Asking about nf_tables would load the module where nobody uses it.
bool HasNfTables() {
  std::ifstream modules("/proc/modules");
  if (!modules) return true;  // no loadable modules: it is in the kernel, or the kernel says no
  for (std::string line; std::getline(modules, line);) {
    if (line.starts_with("nf_tables ")) return true;
  }
  return false;
}

}  // namespace

Result<HostSurvey> HostSurvey::Take(NetlinkSocket& netlink) {
  HostSurvey survey;
  if (const Status taken = survey.TakeQueueingDisciplines(netlink); !taken) return taken.error();
  if (HasNfTables()) survey.TakeChains();
  return survey;
}

Status HostSurvey::TakeQueueingDisciplines(NetlinkSocket& netlink) {
  return netlink.Ask({RTM_GETQDISC, NLM_F_DUMP, tcmsg{}}, [this](Bytes message) {
    const auto header = HeaderOf<tcmsg>(message);
    QueueingDisciplines& qdiscs = qdiscs_[static_cast<uint32_t>(header.tcm_ifindex)];
    if (header.tcm_parent == TC_H_ROOT) qdiscs.root = StringAttribute(AttributesOf<tcmsg>(message), TCA_KIND);
    // The same number for clsact.
    if (header.tcm_parent == TC_H_INGRESS) qdiscs.classic_hooks = true;
  });
}

void HostSurvey::TakeChains() {
  Result<NetlinkSocket> netfilter = NetlinkSocket::Open(NETLINK_NETFILTER);
  if (!netfilter) return;  // a kernel without netfilter
  for (const uint8_t family : {NFPROTO_NETDEV, NFPROTO_INET}) {
    const nfgenmsg header{.nfgen_family = family, .version = NFNETLINK_V0, .res_id = 0};
    constexpr uint16_t kGetChain = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN;
    static_cast<void>(netfilter->Ask({kGetChain, NLM_F_DUMP, header}, [this](Bytes message) {
      const Bytes attributes = AttributesOf<nfgenmsg>(message);
      const std::optional<Bytes> hook = FindAttribute(attributes, NFTA_CHAIN_HOOK);
      if (!hook) return;
      const std::string chain =
          StringAttribute(attributes, NFTA_CHAIN_TABLE) + " " + StringAttribute(attributes, NFTA_CHAIN_NAME);
      const auto add = [&](Bytes list, uint16_t type, bool prefix) {
        EachAttribute(list, type, [&](Bytes name) {
          const std::string text(reinterpret_cast<const char*>(name.data()), name.size());
          chains_.push_back({.device = text.c_str(), .prefix = prefix, .chain = chain});
        });
      };
      add(*hook, NFTA_HOOK_DEV, false);
      if (const std::optional<Bytes> devices = FindAttribute(*hook, NFTA_HOOK_DEVS)) {
        add(*devices, NFTA_DEVICE_NAME, false);
        add(*devices, kDevicePrefix, true);
      }
    }));
  }
}

std::optional<std::string> HostSurvey::Objection(const PodDevice& device, NetlinkSocket& netlink) const {
  const uint32_t ifindex = device.host.ifindex;
  const std::string& name = device.host.name;
  if (device.pod.has_xdp) return "an XDP program on " + device.pod.name + " in the pod would be skipped";
  if (const std::vector<uint32_t> programs = TcxPrograms(ifindex, TcxPoint::kEgress); !programs.empty()) {
    return "the tcx program " + ProgramName(programs.front()) + " at the egress of " + name + " would be skipped";
  }
  if (const auto qdiscs = qdiscs_.find(ifindex); qdiscs != qdiscs_.end()) {
    const std::string& root = qdiscs->second.root;
    if (!root.empty() && root != kNoQueue)
      return "the queueing discipline " + root + " of " + name + " would be skipped";
    if (qdiscs->second.classic_hooks) {
      if (HasFilters(netlink, ifindex, kClassicIngress))
        return "a tc filter at the ingress of " + name + " would be skipped";
      if (HasFilters(netlink, ifindex, kClassicEgress))
        return "a tc filter at the egress of " + name + " would be skipped";
    }
  }
  for (const DeviceChain& chain : chains_) {
    if (chain.prefix ? name.starts_with(chain.device) : name == chain.device) {
      return "the netfilter chain " + chain.chain + " of " + name + " would be skipped";
    }
  }
  return std::nullopt;
}

}  // namespace weft
