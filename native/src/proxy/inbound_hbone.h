#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "loop/timer_wheel.h"
#include "policy/evaluate.h"
#include "proxy/connection.h"
#include "proxy/tunnel_relay.h"

namespace weft {

// Takes a connection accepted on 15008.
void AcceptTunnel(Worker& worker, PodState& pod, UniqueFd fd, const SocketAddress& peer);

// One peer's tunnel into a pod: TLS with the pod's certificate, then CONNECT streams. Owns itself until it is down.
class InboundTunnel final : public H2Connection::Owner {
 public:
  InboundTunnel(Worker& worker, PodState& pod, UniqueFd fd, const SocketAddress& peer, const SocketAddress& local);
  ~InboundTunnel();

  void Begin();
  void Drain();
  void Abort(weft_reason reason, const std::string& detail);
  // The pod's certificate is there, or was replaced: begin, or let the peer come again.
  void OnIdentityChanged(const std::shared_ptr<const IdentityContext>& context);

  const SocketAddress& peer() const { return peer_; }
  const SocketAddress& local() const { return local_; }
  H2Connection& connection() { return *connection_; }

 private:
  friend struct PodState;
  void OnUp(H2Connection& connection) override;
  void OnRequest(H2Connection& connection, H2Stream& stream, HeaderBlock headers, bool end) override;
  void OnCapacityChanged(H2Connection&) override {}
  void OnBatchEnd() override;
  void OnDown(H2Connection& connection) override;

  void OnTimer();
  void Leave(weft_reason reason, const std::string& detail);

  Worker& worker_;
  PodState& pod_;
  UniqueFd fd_;  // until the certificate is there
  SocketAddress peer_;
  SocketAddress local_;
  std::unique_ptr<H2Connection> connection_;
  ListLink<InboundTunnel> link_;
  ListLink<InboundTunnel> handshake_link_;
  Timer timer_;
  bool handshaking_ = true;
  bool counted_ = false;  // among its peer's tunnels
  bool had_stream_ = false;
  bool left_ = false;
};

// One CONNECT stream of a peer: checks, dials the application, answers, copies.
class InboundStream final : public Connection, private TunnelRelay {
 public:
  InboundStream(Worker& worker, PodState& pod, ConnectionRecord record, InboundTunnel& tunnel, H2Stream& stream);
  void Begin(const HeaderBlock& headers);
  void Terminate(weft_reason reason, std::string detail) override;
  ConnectionRecord Snapshot() const override;

 private:
  // Answers with a status and no payload.
  void Refuse(const char* status, weft_reason reason, std::string detail);
  std::optional<PeerInfo> Peer() const override;
  void OnStreamHeaders(const HeaderBlock&, bool) override {}
  void OnStreamClosed(uint32_t code, bool by_peer) override;
  void OnDialed() override;
  void OnDialFailed(int error) override;
  void OnAppGone() override {}
  void OnRelayEnd(weft_reason reason, std::string detail) override;

  SpiffeId peer_identity_;
  Timer dial_timer_;
};

}  // namespace weft
