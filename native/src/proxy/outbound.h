#pragma once

#include <memory>
#include <string>

#include "base/unique_fd.h"
#include "loop/timer_wheel.h"
#include "proxy/connection.h"
#include "proxy/hbone_pool.h"
#include "proxy/tunnel_relay.h"

namespace weft {

// Takes a connection accepted on 15001: finds what the application asked for and sends it on its way.
void AcceptOutbound(Worker& worker, PodState& pod, UniqueFd fd, const SocketAddress& peer);

// A captured connection whose route TypeScript is working out. Bounded by the route wait.
class RouteWaiter final : public Connection {
 public:
  // `chosen_key`: of the endpoint that BPF has chosen, 0: none.
  RouteWaiter(Worker& worker, PodState& pod, ConnectionRecord record, UniqueFd fd, uint32_t chosen_key);
  // Sends on everything that waits for `destination`, now that its route is known.
  static void Answer(PodState& pod, const SocketAddress& destination);
  void Terminate(weft_reason reason, std::string detail) override;

 private:
  void Proceed();

  UniqueFd fd_;
  uint32_t chosen_key_;
  Timer timer_;
  ListLink<RouteWaiter> waiting_;
};

// An outbound connection through an HBONE tunnel.
class OutboundTunnelled final : public Connection, private TunnelRelay, private HbonePool::Waiter {
 public:
  OutboundTunnelled(Worker& worker, PodState& pod, ConnectionRecord record);
  void Begin(UniqueFd app, std::shared_ptr<const Route> route, const RouteEndpoint& endpoint);
  void Terminate(weft_reason reason, std::string detail) override;
  ConnectionRecord Snapshot() const override;

 private:
  void OnTunnel(H2Connection& tunnel) override;
  void OnTunnelFailed(weft_reason reason, const std::string& detail) override;
  void OnStreamHeaders(const HeaderBlock& headers, bool end) override;
  void OnStreamClosed(uint32_t code, bool by_peer) override;
  void OnDialed() override {}
  void OnDialFailed(int) override {}
  void OnAppGone() override;
  void OnRelayEnd(weft_reason reason, std::string detail) override;

  std::shared_ptr<const Route> route_;
  const RouteEndpoint* endpoint_ = nullptr;
  Timer answer_timer_;
  bool retried_ = false;
};

}  // namespace weft
