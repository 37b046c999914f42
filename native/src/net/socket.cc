#include "net/socket.h"

#include <netinet/tcp.h>

#include <string>

namespace weft {
namespace {

void SetInt(int fd, int level, int option, int value) { setsockopt(fd, level, option, &value, sizeof value); }

Result<UniqueFd> BindSocket(const SocketAddress& address, int type, bool dual_stack) {
  sockaddr_storage storage{};
  socklen_t length = address.ToSockaddr(&storage);
  if (dual_stack) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    *v6 = {};
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address.port);
    length = sizeof *v6;
  }
  const std::string where = " " + address.ToString();
  UniqueFd fd(socket(storage.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return Error{errno, "socket" + where};
  SetInt(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (storage.ss_family == AF_INET6) SetInt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, dual_stack ? 0 : 1);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) return Error{errno, "bind" + where};
  return fd;
}

}  // namespace

void SetTcpOptions(int fd, const Keepalive& keepalive) {
  SetInt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (!keepalive.enabled) return;
  SetInt(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetInt(fd, IPPROTO_TCP, TCP_KEEPIDLE, keepalive.time_s);
  SetInt(fd, IPPROTO_TCP, TCP_KEEPINTVL, keepalive.interval_s);
  SetInt(fd, IPPROTO_TCP, TCP_KEEPCNT, keepalive.retries);
}

Result<UniqueFd> ListenTcp(const SocketAddress& address, bool dual_stack, int backlog) {
  Result<UniqueFd> fd = BindSocket(address, SOCK_STREAM, dual_stack);
  if (!fd) return fd;
  if (listen(fd->get(), backlog) != 0) return Error{errno, "listen " + address.ToString()};
  return fd;
}

Result<UniqueFd> ListenTcpAny(uint16_t port, bool ipv6, int backlog) {
  const SocketAddress any{IpAddress::FromV4(in_addr{INADDR_ANY}), port};
  if (ipv6) {
    Result<UniqueFd> fd = ListenTcp(any, true, backlog);
    if (fd || (fd.error().code != EAFNOSUPPORT && fd.error().code != EADDRNOTAVAIL)) return fd;
  }
  return ListenTcp(any, false, backlog);
}

Result<UniqueFd> BindUdp(const SocketAddress& address) { return BindSocket(address, SOCK_DGRAM, false); }

Result<UniqueFd> OpenTcp(const SocketAddress& address) {
  UniqueFd fd(socket(address.ip.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return Error{errno, "socket"};
  return fd;
}

Result<bool> StartConnect(int fd, const SocketAddress& address) {
  sockaddr_storage storage{};
  const socklen_t length = address.ToSockaddr(&storage);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&storage), length) == 0) return true;
  if (errno == EINPROGRESS) return false;
  return Error{errno, "connect " + address.ToString()};
}

int TakeSocketError(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
  return error;
}

std::optional<SocketAddress> LocalAddress(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return std::nullopt;
  return SocketAddress::FromSockaddr(storage);
}

std::optional<SocketAddress> PeerAddress(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return std::nullopt;
  return SocketAddress::FromSockaddr(storage);
}

void CloseWithReset(UniqueFd& fd) {
  if (!fd) return;
  const linger hard{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  fd.Reset();
}

}  // namespace weft
