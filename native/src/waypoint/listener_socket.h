#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "net/acceptor.h"
#include "net/transport.h"

namespace weft::waypoint {

class L7Worker;

// A listening socket of the process, shared by all loops. Without a name it is HBONE's.
struct ListenerSocket {
  std::string name;
  std::string address;  // as it was asked for; empty: all
  uint16_t port = 0;
  SocketAddress bound;
  std::shared_ptr<const UniqueFd> fd;
  std::optional<TlsServerOptions> tls;
  std::shared_ptr<const TlsServerConfig> server_tls;  // null: cleartext
};

// One loop's part of a listener: its watch on the socket, and what it does with what it accepts.
class LoopListener final : private Acceptor::Owner {
 public:
  LoopListener(L7Worker& worker, std::shared_ptr<const ListenerSocket> socket);
  void Close() { acceptor_.Close(); }
  const ListenerSocket& socket() const { return *socket_; }

 private:
  void OnAccepted(UniqueFd fd, const SocketAddress& peer) override;
  void OnOutOfDescriptors() override {}

  L7Worker& worker_;
  std::shared_ptr<const ListenerSocket> socket_;
  Acceptor acceptor_;
};

}  // namespace weft::waypoint
