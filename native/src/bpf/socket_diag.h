#pragma once

#include <cstdint>

#include "base/result.h"
#include "bpf/redirect_netlink.h"
#include "net/ip_address.h"

namespace weft {

// Ends TCP connections of other processes in one network namespace (sock_diag(7), SOCK_DESTROY).
class SocketDiag {
 public:
  // For the namespace that the thread is in; used from any thread then.
  static Result<SocketDiag> Open();

  // Ends the connection with this local and remote end: its owner gets ECONNABORTED, the other end a reset. False when
  // there is none. IPv4 addresses find sockets of AF_INET6 too.
  Result<bool> End(const SocketAddress& local, const SocketAddress& remote);

 private:
  explicit SocketDiag(NetlinkSocket netlink) : netlink_(std::move(netlink)) {}

  NetlinkSocket netlink_;
};

// Does this kernel end other processes' connections? Tries it on a socket of our own. The error names the kernel's
// configuration option.
Status CheckSocketDestroy();

}  // namespace weft
