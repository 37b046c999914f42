#include "proxy/outbound.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <utility>

#include "net/socket.h"
#include "proxy/plain_connection.h"
#include "proxy/worker.h"

namespace weft {
namespace {

std::string Hex(const uint8_t* bytes, size_t n) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * n);
  for (size_t i = 0; i < n; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

// The one that BPF has chosen by the same weights, while it is in the route; else random by weight, per connection.
const RouteEndpoint* Pick(const Route& route, uint32_t chosen_key, std::mt19937_64& random) {
  if (chosen_key != 0) {
    const auto chosen = std::ranges::find(route.endpoints, chosen_key, &RouteEndpoint::key);
    if (chosen != route.endpoints.end()) return &*chosen;
  }
  if (route.endpoints.size() == 1) return &route.endpoints.front();
  uint64_t total = 0;
  for (const RouteEndpoint& endpoint : route.endpoints) total += endpoint.weight;
  if (total == 0) return nullptr;
  uint64_t at = random() % total;
  for (const RouteEndpoint& endpoint : route.endpoints) {
    if (at < endpoint.weight) return &endpoint;
    at -= endpoint.weight;
  }
  return nullptr;
}

// Refuses before anything was dialled: one record, one RST.
void Refuse(Worker& worker, ConnectionRecord record, UniqueFd fd, weft_reason reason, std::string detail) {
  CloseWithReset(fd);
  worker.load(ListenerKind::kOutbound).fetch_sub(1, std::memory_order_relaxed);
  worker.Count(reason);
  record.reason = reason;
  record.detail = std::move(detail);
  worker.Emit(Closed(std::move(record)));
}

void Launch(Worker& worker, PodState& pod, ConnectionRecord record, UniqueFd fd, uint32_t chosen_key,
            std::shared_ptr<const Route> route) {
  if (route->kind == Route::Kind::kRefuse) {
    return Refuse(worker, std::move(record), std::move(fd), route->reason, "refused by route");
  }
  if (route->kind == Route::Kind::kPassthrough) {
    const SocketAddress upstream = record.destination;
    return BeginPlain(worker, pod, std::move(record), std::move(fd), upstream, PlainDial::kOutbound);
  }
  const RouteEndpoint* endpoint = Pick(*route, chosen_key, worker.random());
  if (endpoint == nullptr) {
    return Refuse(worker, std::move(record), std::move(fd), WEFT_R_NO_HEALTHY_UPSTREAM, "no endpoint");
  }
  record.endpoint_key = endpoint->key;
  record.upstream = endpoint->dial;
  if (!endpoint->tunnel) {
    return BeginPlain(worker, pod, std::move(record), std::move(fd), endpoint->dial, PlainDial::kOutbound);
  }
  record.authority = endpoint->authority;
  // Owned by the pod's list and by the loop from here on, see Connection::Finish.
  auto* connection = new OutboundTunnelled(worker, pod, std::move(record));
  connection->Begin(std::move(fd), std::move(route), *endpoint);
}

}  // namespace

void AcceptOutbound(Worker& worker, PodState& pod, UniqueFd fd, const SocketAddress& peer) {
  ConnectionRecord record = worker.NewRecord(Path::kOutbound, pod, peer);
  const std::optional<SocketAddress> local = LocalAddress(fd.get());
  if (local) record.destination = *local;
  std::optional<CapturedConnection> original;
  if (local && worker.capture() != nullptr) {
    original = worker.capture()->OriginalDestination(pod.shared->cookie, peer, *local);
  }
  if (!original) {
    return Refuse(worker, std::move(record), std::move(fd), WEFT_R_NO_ORIGINAL_DST, "not a captured connection");
  }
  record.destination = original->destination;
  if (record.destination.ip.is_loopback() && IsReservedPort(record.destination.port)) {
    return Refuse(worker, std::move(record), std::move(fd), WEFT_R_LOOP, "destination is the agent itself");
  }
  if (const auto found = pod.routes.find(record.destination); found != pod.routes.end()) {
    return Launch(worker, pod, std::move(record), std::move(fd), original->endpoint_key, found->second);
  }
  new RouteWaiter(worker, pod, std::move(record), std::move(fd), original->endpoint_key);  // owned as in Launch
}

// ---- RouteWaiter --------------------------------------------------------------------------------------------------

RouteWaiter::RouteWaiter(Worker& worker, PodState& pod, ConnectionRecord record, UniqueFd fd, uint32_t chosen_key)
    : Connection(worker, pod, std::move(record)),
      fd_(std::move(fd)),
      chosen_key_(chosen_key),
      timer_([this] { Terminate(WEFT_R_ROUTE_TIMEOUT, "no route within the wait"); }),
      waiting_(this) {
  auto& waiters = pod.waiters[record_.destination];
  if (!waiters) waiters = std::make_unique<IntrusiveList<RouteWaiter>>();
  waiters->PushBack(waiting_);
  worker.context().loop.Arm(timer_, worker.limits().route_wait_ms);
  if (pod.shared->AskOnce(record_.destination)) worker.Emit(RouteMiss{pod.config().id, record_.destination});
}

void RouteWaiter::Answer(PodState& pod, const SocketAddress& destination) {
  const auto found = pod.waiters.find(destination);
  if (found == pod.waiters.end()) return;
  const std::unique_ptr<IntrusiveList<RouteWaiter>> waiters = std::move(found->second);
  pod.waiters.erase(found);
  while (RouteWaiter* waiter = waiters->PopFront()) waiter->Proceed();
}

void RouteWaiter::Proceed() {
  timer_.Disarm();
  const std::shared_ptr<const Route> route = pod_.routes.at(record_.destination);
  Worker& worker = worker_;
  PodState& pod = pod_;
  UniqueFd fd = std::move(fd_);
  const uint32_t chosen_key = chosen_key_;
  Launch(worker, pod, HandOver(), std::move(fd), chosen_key, route);
}

void RouteWaiter::Terminate(weft_reason reason, std::string detail) {
  timer_.Disarm();
  waiting_.Unlink();
  // Ask again for the next connection.
  pod_.shared->Answered(record_.destination);
  if (const auto found = pod_.waiters.find(record_.destination);
      found != pod_.waiters.end() && found->second->empty()) {
    pod_.waiters.erase(found);
  }
  CloseWithReset(fd_);
  Finish(reason, std::move(detail));
}

// ---- OutboundTunnelled --------------------------------------------------------------------------------------------

OutboundTunnelled::OutboundTunnelled(Worker& worker, PodState& pod, ConnectionRecord record)
    : Connection(worker, pod, std::move(record)),
      TunnelRelay(worker.context(), worker.batch(), pod.pending),
      answer_timer_([this] { Terminate(WEFT_R_UPSTREAM_TIMEOUT, "no answer to CONNECT"); }) {}

void OutboundTunnelled::Begin(UniqueFd app, std::shared_ptr<const Route> route, const RouteEndpoint& endpoint) {
  route_ = std::move(route);
  endpoint_ = &endpoint;
  if (Status status = Attach(std::move(app), false); !status) return Terminate(WEFT_R_INTERNAL, status.error().what);
  pod_.pool.Acquire(endpoint, *this);
}

void OutboundTunnelled::OnTunnel(H2Connection& tunnel) {
  if (finished()) return;  // ended while it waited
  const std::string source = record_.source.ToString();
  std::string forwarded = "for=\"" + source + "\"";
  if (!route_->service_host.empty()) forwarded += ";host=" + route_->service_host;
  uint64_t span = worker_.random()();
  const std::string traceparent = "00-" + Hex(record_.trace_id.data(), record_.trace_id.size()) + "-" +
                                  Hex(reinterpret_cast<const uint8_t*>(&span), sizeof span) + "-00";
  const HeaderField fields[] = {
      {":method", "CONNECT"},          {":authority", endpoint_->authority}, {"baggage", pod_.baggage},
      {"forwarded", forwarded, false}, {"traceparent", traceparent, false},
  };
  record_.peer_identity = tunnel.tls().peer().ToUri();
  H2Stream* stream = tunnel.session().Open(fields, this);
  if (stream == nullptr) return Terminate(WEFT_R_H2_FAILURE, "peer takes no more streams");
  BindStream(tunnel, *stream);
  worker_.context().loop.Arm(answer_timer_, worker_.limits().connect_answer_ms);
}

void OutboundTunnelled::OnTunnelFailed(weft_reason reason, const std::string& detail) { Terminate(reason, detail); }

void OutboundTunnelled::OnStreamHeaders(const HeaderBlock& headers, bool end) {
  answer_timer_.Disarm();
  if (headers.status != "200" || end) {
    return Terminate(WEFT_R_TUNNEL_REFUSED, "peer answered " + headers.status);
  }
  record_.established = true;
  StartRelay();
}

void OutboundTunnelled::OnStreamClosed(uint32_t code, bool by_peer) {
  if (record_.established || finished()) return TunnelRelay::OnStreamClosed(code, by_peer);
  stream_ = nullptr;
  answer_timer_.Disarm();
  // The peer promises not to have looked at it (GOAWAY, REFUSED_STREAM): one fresh attempt.
  if (by_peer && code == h2::kRefusedStream && !std::exchange(retried_, true)) {
    return pod_.pool.Acquire(*endpoint_, *this);
  }
  if (tunnel_->down()) return Terminate(tunnel_->down_reason(), tunnel_->down_detail());
  Terminate(WEFT_R_TUNNEL_REFUSED, "peer reset the stream, HTTP/2 error " + std::to_string(code));
}

void OutboundTunnelled::OnAppGone() { Terminate(WEFT_R_PEER_RESET, "application went away"); }

void OutboundTunnelled::OnRelayEnd(weft_reason reason, std::string detail) { Finish(reason, std::move(detail)); }

void OutboundTunnelled::Terminate(weft_reason reason, std::string detail) {
  if (finished()) return;
  answer_timer_.Disarm();
  // Nothing established is an error for the application even when the tunnel ended in order.
  if (reason == WEFT_R_NONE) reason = WEFT_R_PEER_RESET;
  StopRelay(reason);
  Finish(reason, std::move(detail));
}

ConnectionRecord OutboundTunnelled::Snapshot() const {
  ConnectionRecord record = Connection::Snapshot();
  record.request_bytes = from_app_bytes_;
  record.response_bytes = to_app_bytes_;
  return record;
}

}  // namespace weft
