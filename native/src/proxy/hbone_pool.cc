#include "proxy/hbone_pool.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "net/socket.h"
#include "proxy/worker.h"

namespace weft {

// Tunnels and waiters of one pool key.
struct HbonePool::Group {
  Group(HbonePool& owner, const RouteEndpoint& endpoint)
      : pool(owner),
        dial(endpoint.dial),
        identities(endpoint.identities),
        identity_timer([this] { pool.FailWaiters(*this, WEFT_R_IDENTITY_ERROR, "no certificate for the pod"); }) {}

  HbonePool& pool;
  SocketAddress dial;
  std::vector<std::string> identities;
  std::vector<std::unique_ptr<Tunnel>> tunnels;
  IntrusiveList<Waiter> waiters;
  size_t n_waiting = 0;
  Timer identity_timer;
};

class HbonePool::Tunnel final : public H2Connection::Owner {
 public:
  Tunnel(HbonePool& owner, Group& owner_group) : pool(owner), group(owner_group), idle_timer([this] { OnIdle(); }) {}

  void OnUp(H2Connection&) override {
    up = true;
    pool.worker_.context().loop.Arm(idle_timer, pool.worker_.limits().pool_unused_release_ms);
    if (retiring) return connection->Drain();
    pool.Dispatch(group);
  }
  void OnRequest(H2Connection&, H2Stream&, HeaderBlock, bool) override {}
  void OnCapacityChanged(H2Connection& changed) override {
    if (changed.session().peer_going_away()) Retire();
    if (!retiring && group.n_waiting > 0) pool.Dispatch(group);
  }
  void OnBatchEnd() override { pool.worker_.batch().Flush(); }
  void OnDown(H2Connection&) override { pool.OnTunnelDown(*this); }

  bool HasRoom() const {
    return up && !retiring && connection->session().CanOpen() &&
           connection->session().open_streams() < pool.StreamLimit(*connection);
  }
  void CheckedOut() { last_used_ms = pool.worker_.context().loop.now_ms(); }
  // Not offered any more; closes with its last stream, never within this call.
  void Retire() {
    retiring = true;
    if (up) connection->Drain();
  }

  HbonePool& pool;
  Group& group;
  std::unique_ptr<H2Connection> connection;
  bool up = false;
  bool retiring = false;
  uint64_t last_used_ms = 0;
  Timer idle_timer;

 private:
  void OnIdle() {
    const uint64_t release = pool.worker_.limits().pool_unused_release_ms;
    const uint64_t idle = pool.worker_.context().loop.now_ms() - last_used_ms;
    if (idle >= release) return Retire();
    pool.worker_.context().loop.Arm(idle_timer, release - idle);
  }
};

HbonePool::HbonePool(Worker& worker, PodState& pod) : worker_(worker), pod_(pod) {}

HbonePool::~HbonePool() = default;

uint32_t HbonePool::StreamLimit(H2Connection& connection) const {
  return std::min(worker_.limits().max_streams_per_connection, connection.session().max_open_streams());
}

size_t HbonePool::size() const {
  size_t n = 0;
  for (const auto& [_, group] : groups_) n += group->tunnels.size();
  return n;
}

void HbonePool::Acquire(const RouteEndpoint& endpoint, Waiter& waiter) {
  std::unique_ptr<Group>& slot = groups_[endpoint.pool_key];
  if (!slot) slot = std::make_unique<Group>(*this, endpoint);
  Group& group = *slot;
  if (group.n_waiting == 0) {
    for (const auto& tunnel : group.tunnels) {
      if (!tunnel->HasRoom()) continue;
      tunnel->CheckedOut();
      return waiter.OnTunnel(*tunnel->connection);
    }
  }
  group.waiters.PushBack(waiter.pool_link_);
  ++group.n_waiting;
  DialMissing(group);
}

void HbonePool::DialMissing(Group& group) {
  const std::shared_ptr<const IdentityContext> context = worker_.FindIdentity(pod_.config().identity);
  if (!context) {
    if (group.identity_timer.armed()) return;
    worker_.context().loop.Arm(group.identity_timer, worker_.limits().identity_wait_ms);
    return worker_.ReportIdentityMiss(pod_.config().identity);
  }
  group.identity_timer.Disarm();
  size_t coming = 0;
  for (const auto& tunnel : group.tunnels) {
    if (!tunnel->up && !tunnel->retiring) coming += worker_.limits().max_streams_per_connection;
  }
  while (coming < group.n_waiting) {
    Result<UniqueFd> fd = worker_.OpenSocket(pod_, group.dial);
    if (!fd) return FailWaiters(group, WEFT_R_INTERNAL, fd.error().what);
    Result<bool> connected = StartConnect(fd->get(), group.dial);
    if (!connected) return FailWaiters(group, WEFT_R_UPSTREAM_REFUSED, std::strerror(connected.error().code));
    Result<std::unique_ptr<TlsConn>> tls = TlsConn::Client(context, group.identities);
    if (!tls) return FailWaiters(group, WEFT_R_TLS_FAILURE, tls.error().what);
    auto tunnel = std::make_unique<Tunnel>(*this, group);
    tunnel->CheckedOut();
    tunnel->connection =
        std::make_unique<H2Connection>(worker_.context(), *tunnel, std::move(*fd), std::move(*tls),
                                       worker_.MakeH2Config(false), worker_.limits().tunnel, *connected);
    if (Status status = tunnel->connection->Begin(); !status) {
      return FailWaiters(group, WEFT_R_INTERNAL, status.error().what);
    }
    group.tunnels.push_back(std::move(tunnel));
    coming += worker_.limits().max_streams_per_connection;
  }
}

void HbonePool::Dispatch(Group& group) {
  for (size_t i = 0; i < group.tunnels.size(); ++i) {
    while (i < group.tunnels.size() && group.tunnels[i]->HasRoom()) {
      Waiter* waiter = group.waiters.PopFront();
      if (waiter == nullptr) {
        group.n_waiting = 0;  // cancelled ones were still counted
        return;
      }
      --group.n_waiting;
      group.tunnels[i]->CheckedOut();
      waiter->OnTunnel(*group.tunnels[i]->connection);
    }
  }
  if (group.n_waiting > 0 && !worker_.draining()) DialMissing(group);
}

void HbonePool::FailWaiters(Group& group, weft_reason reason, const std::string& detail) {
  IntrusiveList<Waiter> failing;
  group.waiters.MoveTo(failing);
  group.n_waiting = 0;
  while (Waiter* waiter = failing.PopFront()) waiter->OnTunnelFailed(reason, detail);
}

void HbonePool::OnTunnelDown(Tunnel& tunnel) {
  Group& group = tunnel.group;
  const auto found =
      std::find_if(group.tunnels.begin(), group.tunnels.end(), [&](const auto& each) { return each.get() == &tunnel; });
  if (found == group.tunnels.end()) return;
  std::unique_ptr<Tunnel> owned = std::move(*found);
  group.tunnels.erase(found);
  const weft_reason reason = owned->connection->down_reason();
  const std::string detail = owned->connection->down_detail();
  const bool was_up = owned->up;
  owned->idle_timer.Disarm();
  worker_.context().loop.Retire(std::move(owned->connection));
  worker_.context().loop.Retire(std::move(owned));
  // A connection that never came up answers those who waited for it; after one that did, the rest may dial anew.
  if (!was_up) {
    FailWaiters(group, reason, detail);
  } else if (group.n_waiting > 0 && !worker_.draining()) {
    DialMissing(group);
  }
}

void HbonePool::OnIdentityChanged(const IdentityContext& context) {
  for (auto& [_, group] : groups_) {
    std::vector<H2Connection*> untrusted;
    for (auto& tunnel : group->tunnels) {
      if (tunnel->up && !tunnel->connection->tls().PeerTrustedBy(context))
        untrusted.push_back(tunnel->connection.get());
      tunnel->Retire();
    }
    for (H2Connection* connection : untrusted) connection->Abort(WEFT_R_CERT_REVOKED, "peer's authority was removed");
    if (group->n_waiting > 0) DialMissing(*group);
  }
}

void HbonePool::Drain() {
  for (auto& [_, group] : groups_) {
    FailWaiters(*group, WEFT_R_DRAINED, "agent is shutting down");
    for (auto& tunnel : group->tunnels) tunnel->Retire();
  }
}

void HbonePool::Abort(weft_reason reason, const std::string& detail) {
  for (auto& [_, group] : groups_) {
    FailWaiters(*group, reason, detail);
    while (!group->tunnels.empty()) group->tunnels.back()->connection->Abort(reason, detail);
  }
}

}  // namespace weft
