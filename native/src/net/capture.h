#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "net/ip_address.h"

namespace weft {

// What capture knows of a connection accepted on 15001.
struct CapturedConnection {
  // The address that the application asked for.
  SocketAddress destination;
  // RouteEndpoint.key of the endpoint that BPF chose for it; 0: none was chosen.
  uint32_t endpoint_key = 0;
};

// What the engine needs of the BPF plane. Called from loop threads; implementations are thread-safe.
class Capture {
 public:
  virtual ~Capture() = default;

  // By the 4-tuple of a connection accepted on 15001 in the network namespace with this cookie. nullopt: the connection
  // did not come from capture (a remote peer dialled 15001, for example) and must be refused.
  virtual std::optional<CapturedConnection> OriginalDestination(uint64_t netns_cookie, const SocketAddress& peer,
                                                                const SocketAddress& local) = 0;

  // Marks `fd`, a socket that is about to connect() to an application in its own pod, so that the application sees
  // `client` as its peer (getpeername and accept). Must come before connect().
  virtual Status AnnounceClient(int fd, const SocketAddress& client) = 0;

  // Makes `listener_fd` (15006, one per address family) the socket that plaintext from outside is steered to in the
  // network namespace with this cookie.
  virtual Status SetInboundListener(uint64_t netns_cookie, int family, int listener_fd) = 0;
};

}  // namespace weft
