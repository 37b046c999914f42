#include "bpf/socket_diag.h"

#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstring>
#include <optional>
#include <utility>

#include "base/unique_fd.h"

namespace weft {
namespace {

void SetAddress(__be32 (&to)[4], const IpAddress& ip) {
  if (ip.is_v4()) {
    std::memcpy(to, ip.bytes().data() + 12, 4);
  } else {
    std::memcpy(to, ip.bytes().data(), 16);
  }
}

inet_diag_req_v2 Question(const SocketAddress& local, const SocketAddress& remote) {
  inet_diag_req_v2 question{};
  question.sdiag_family = local.ip.is_v4() ? AF_INET : AF_INET6;
  question.sdiag_protocol = IPPROTO_TCP;
  question.id.idiag_sport = htons(local.port);
  question.id.idiag_dport = htons(remote.port);
  SetAddress(question.id.idiag_src, local.ip);
  SetAddress(question.id.idiag_dst, remote.ip);
  question.id.idiag_cookie[0] = question.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  return question;
}

Status Destroy(NetlinkSocket& netlink, const inet_diag_req_v2& socket) {
  return netlink.Ask(NetlinkRequest(SOCK_DESTROY, NLM_F_ACK, socket), [](Bytes) {});
}

Status TryDestroy() {
  Result<NetlinkSocket> netlink = NetlinkSocket::Open(NETLINK_SOCK_DIAG);
  if (!netlink) return netlink.error();
  // A listener of ours that nobody connects to.
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  uint64_t cookie = 0;
  socklen_t cookie_length = sizeof(cookie);
  const bool listening = listener && bind(listener.get(), generic, length) == 0 && listen(listener.get(), 1) == 0 &&
                         getsockname(listener.get(), generic, &length) == 0 &&
                         getsockopt(listener.get(), SOL_SOCKET, SO_COOKIE, &cookie, &cookie_length) == 0;
  if (!listening) return Error{errno, "listen on loopback"};
  inet_diag_req_v2 ours = Question({IpAddress::FromV4(address.sin_addr), ntohs(address.sin_port)}, {});
  ours.sdiag_family = AF_INET;
  ours.id.idiag_cookie[0] = static_cast<uint32_t>(cookie);
  ours.id.idiag_cookie[1] = static_cast<uint32_t>(cookie >> 32);
  return Destroy(*netlink, ours);
}

}  // namespace

Result<SocketDiag> SocketDiag::Open() {
  Result<NetlinkSocket> netlink = NetlinkSocket::Open(NETLINK_SOCK_DIAG);
  if (!netlink) return netlink.error();
  return SocketDiag(std::move(*netlink));
}

Result<bool> SocketDiag::End(const SocketAddress& local, const SocketAddress& remote) {
  // Where the connection is gone the kernel finds the application's listener, which must live: so look first, then end
  // exactly what was seen.
  const inet_diag_req_v2 question = Question(local, remote);
  inet_diag_msg found{};
  const Status asked = netlink_.Ask(NetlinkRequest(SOCK_DIAG_BY_FAMILY, 0, question), [&](Bytes answer) {
    if (answer.size() >= sizeof(found)) std::memcpy(&found, answer.data(), sizeof(found));
  });
  if (!asked && asked.error().code == ENOENT) return false;
  if (!asked) return asked.error();
  const bool same = found.id.idiag_sport == question.id.idiag_sport && found.id.idiag_dport == question.id.idiag_dport;
  if (!same || found.idiag_state == TCP_LISTEN || found.idiag_state == TCP_TIME_WAIT) return false;

  inet_diag_req_v2 exact = question;
  exact.id.idiag_cookie[0] = found.id.idiag_cookie[0];
  exact.id.idiag_cookie[1] = found.id.idiag_cookie[1];
  const Status ended = Destroy(netlink_, exact);
  // Gone by itself in between, its 4-tuple perhaps in use again.
  if (!ended && (ended.error().code == ENOENT || ended.error().code == ESTALE)) return false;
  if (!ended) return ended.error();
  return true;
}

Status CheckSocketDestroy() {
  const Status tried = TryDestroy();
  if (tried) return tried;
  return Error{tried.error().code,
               "this kernel does not end other processes' connections (CONFIG_INET_DIAG, CONFIG_INET_TCP_DIAG, "
               "CONFIG_INET_DIAG_DESTROY)"};
}

}  // namespace weft
