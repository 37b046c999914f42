#pragma once

#include <memory>
#include <string>

#include "base/intrusive_list.h"
#include "hbone/h2_connection.h"
#include "loop/timer_wheel.h"
#include "net/ip_address.h"

namespace weft::waypoint {

class L7Worker;

// One peer's HBONE connection: mutual TLS, then CONNECT streams, each to a destination of the program. Owns itself
// until it is down.
class Tunnel final : private H2Connection::Owner {
 public:
  static void Accept(L7Worker& worker, UniqueFd fd, const SocketAddress& peer);

  void Drain() { connection_->Drain(); }
  void Abort(weft_reason reason, const char* detail) { connection_->Abort(reason, detail); }
  // Another certificate is in force: tunnels go on with theirs, unless the peer would no longer be believed.
  void OnIdentityChanged(const IdentityContext& context);

 private:
  friend class L7Worker;
  Tunnel(L7Worker& worker, UniqueFd fd, const SocketAddress& peer, const SocketAddress& local,
         std::unique_ptr<TlsConn> tls);

  void OnUp(H2Connection& connection) override;
  void OnRequest(H2Connection& connection, H2Stream& stream, HeaderBlock headers, bool end) override;
  void OnCapacityChanged(H2Connection&) override {}
  void OnBatchEnd() override {}
  void OnDown(H2Connection& connection) override;
  void Refuse(H2Stream& stream, const char* status, const HeaderBlock& headers, const char* why);

  L7Worker& worker_;
  SocketAddress peer_;
  SocketAddress local_;
  std::string identity_;  // of the peer, once it is up
  ListLink<Tunnel> link_;
  ListLink<Tunnel> handshake_link_;
  Timer first_stream_timer_;
  bool counted_ = false;  // among its peer's tunnels
  bool had_stream_ = false;
  std::unique_ptr<H2Connection> connection_;
};

}  // namespace weft::waypoint
