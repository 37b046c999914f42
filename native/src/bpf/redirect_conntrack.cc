#include "bpf/redirect_conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cstring>

#include "bpf/abi_convert.h"
#include "bpf/redirect_netlink.h"

namespace weft {
namespace {

// There when connection tracking is; asking for it by netlink would load its module.
constexpr char kTracking[] = "/proc/sys/net/netfilter/nf_conntrack_max";
constexpr uint16_t kDelete = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;

void AddAddress(NetlinkRequest& request, const weft_ip& ip, uint16_t type4, uint16_t type6) {
  const IpAddress address = FromAbi(ip);
  const Bytes bytes(address.bytes());
  if (address.is_v4()) {
    request.AddBytes(type4, bytes.last(sizeof(in_addr)));
  } else {
    request.AddBytes(type6, bytes);
  }
}

NetlinkRequest DeleteRequest(const weft_flow_key& key) {
  const uint8_t family = FromAbi(key.src).is_v4() ? AF_INET : AF_INET6;
  NetlinkRequest request(kDelete, NLM_F_ACK, nfgenmsg{.nfgen_family = family, .version = NFNETLINK_V0, .res_id = 0});
  request.AddNested(CTA_TUPLE_ORIG, [&] {
    request.AddNested(CTA_TUPLE_IP, [&] {
      AddAddress(request, key.src, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
      AddAddress(request, key.dst, CTA_IP_V4_DST, CTA_IP_V6_DST);
    });
    request.AddNested(CTA_TUPLE_PROTO, [&] {
      request.Add(CTA_PROTO_NUM, uint8_t{IPPROTO_TCP});
      request.Add(CTA_PROTO_SRC_PORT, htons(key.src_port));
      request.Add(CTA_PROTO_DST_PORT, htons(key.dst_port));
    });
  });
  return request;
}

}  // namespace

void ForgetConnections(std::span<const weft_flow_key> connections) {
  if (connections.empty() || access(kTracking, F_OK) != 0) return;
  Result<NetlinkSocket> netfilter = NetlinkSocket::Open(NETLINK_NETFILTER);
  if (!netfilter) return;
  // ENOENT is the usual answer: most are older than a minute.
  for (const weft_flow_key& key : connections) static_cast<void>(netfilter->Ask(DeleteRequest(key), [](Bytes) {}));
}

}  // namespace weft
