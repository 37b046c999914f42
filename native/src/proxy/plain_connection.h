#pragma once

#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "loop/timer_wheel.h"
#include "proxy/connection.h"
#include "proxy/socket_relay.h"

namespace weft {

enum class PlainDial { kOutbound, kApplication };

// Takes a connection accepted on 15006: policies by address, then the application.
void AcceptPlaintext(Worker& worker, PodState& pod, UniqueFd fd, const SocketAddress& peer);

// Dials `upstream` from inside the pod's namespace and copies.
void BeginPlain(Worker& worker, PodState& pod, ConnectionRecord record, UniqueFd fd, const SocketAddress& upstream,
                PlainDial dial);

// A connection without a tunnel: outbound to a destination outside the mesh, or inbound from a peer without mTLS.
class PlainConnection final : public Connection, private SocketRelay {
 public:
  PlainConnection(Worker& worker, PodState& pod, ConnectionRecord record);
  void Begin(UniqueFd fd, const SocketAddress& upstream, PlainDial dial);
  void Terminate(weft_reason reason, std::string detail) override;
  ConnectionRecord Snapshot() const override;

 private:
  std::optional<PeerInfo> Peer() const override;
  void OnDialed() override;
  void OnDialFailed(int error) override;
  void OnRelayEnd(weft_reason reason, std::string detail) override;

  Timer dial_timer_;
};

}  // namespace weft
