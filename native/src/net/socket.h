#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/result.h"
#include "base/unique_fd.h"
#include "net/ip_address.h"

namespace weft {

// TCP keepalive of sockets that we dial and of captured ones. Defaults are ambient's.
struct Keepalive {
  bool enabled = true;
  int time_s = 180;
  int interval_s = 180;
  int retries = 9;
};

// TCP_NODELAY and keepalive. On a listener: what accept() returns inherits them.
void SetTcpOptions(int fd, const Keepalive& keepalive);

// A non-blocking TCP listener in the calling thread's network namespace. IPv6 listeners take IPv4 too.
Result<UniqueFd> ListenTcp(const SocketAddress& address, bool dual_stack, int backlog);

// A listener on every address of the namespace; dual-stack, or IPv4 only when the kernel or `ipv6` says so.
Result<UniqueFd> ListenTcpAny(uint16_t port, bool ipv6, int backlog);

Result<UniqueFd> BindUdp(const SocketAddress& address);

// A non-blocking TCP socket for `address`' family in the calling thread's network namespace.
Result<UniqueFd> OpenTcp(const SocketAddress& address);

// Starts connecting. True: connected already.
Result<bool> StartConnect(int fd, const SocketAddress& address);

// The pending error of a socket (0: none): the outcome of a non-blocking connect.
int TakeSocketError(int fd);

std::optional<SocketAddress> LocalAddress(int fd);
std::optional<SocketAddress> PeerAddress(int fd);

// Closes with RST, so that the peer sees an error and not an orderly end.
void CloseWithReset(UniqueFd& fd);

}  // namespace weft
