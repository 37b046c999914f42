#include "waypoint/tunnel.h"

#include <algorithm>
#include <utility>

#include "hbone/authority.h"
#include "hbone/hbone_stream.h"
#include "l7/flags.h"
#include "net/socket.h"
#include "waypoint/l7_worker.h"

namespace weft::waypoint {
namespace {

// Ports of the mesh itself: nobody's service, and a way back into us.
constexpr bool IsReserved(uint16_t port) { return port == 15001 || port == 15006 || port == 15008; }

H2Config ConfigOf(const L7Limits& limits) {
  H2Config config;
  config.server = true;
  config.max_streams = limits.max_streams;
  config.max_header_list = limits.max_header_list;
  return config;
}

PortKey KeyOf(const Authority& authority) {
  if (authority.address) return *authority.address;
  std::string text(authority.host);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
  return HostPort{text + ":" + std::to_string(authority.port)};
}

class TunnelAnswer final : public ConnectAnswer {
 public:
  TunnelAnswer(HboneServerStream& stream, std::string_view baggage) : stream_(stream), baggage_(baggage) {}
  void Accept() override { stream_.Accept(baggage_); }
  void Refuse() override { stream_.Refuse("503"); }

 private:
  HboneServerStream& stream_;
  std::string_view baggage_;
};

}  // namespace

void Tunnel::Accept(L7Worker& worker, UniqueFd fd, const SocketAddress& peer) {
  const auto refuse = [&] { CloseWithReset(fd); };
  const std::optional<SocketAddress> local = LocalAddress(fd.get());
  // Without a certificate nothing can be proved; we are not ready then, and
  // nobody should come.
  if (!local || !worker.identity()) return refuse();
  if (worker.shared().tunnels.load(std::memory_order_relaxed) >= worker.limits().max_tunnels) return refuse();
  if (worker.handshakes >= worker.limits().max_handshakes) {
    // The oldest gives way: peers that never finish must not keep out those
    // that would.
    Tunnel* oldest = worker.handshaking().PopFront();
    if (oldest == nullptr) return refuse();
    oldest->Abort(WEFT_R_LIMIT_EXCEEDED, "handshake gave way to newer ones");
  }
  Result<std::unique_ptr<TlsConn>> tls = TlsConn::Server(worker.identity());
  if (!tls) return refuse();
  SetTcpOptions(fd.get(), Keepalive{.enabled = false});  // h2 PING watches over tunnels
  auto* tunnel = new Tunnel(worker, std::move(fd), peer, *local,
                            std::move(*tls));  // owned by itself, see OnDown
  if (Status status = tunnel->connection_->Begin(); !status) tunnel->Abort(WEFT_R_INTERNAL, "cannot watch the socket");
}

Tunnel::Tunnel(L7Worker& worker, UniqueFd fd, const SocketAddress& peer, const SocketAddress& local,
               std::unique_ptr<TlsConn> tls)
    : worker_(worker),
      peer_(peer),
      local_(local),
      link_(this),
      handshake_link_(this),
      first_stream_timer_([this] {
        if (!had_stream_) Abort(WEFT_R_IDLE_TIMEOUT, "tunnel without a stream");
      }),
      connection_(std::make_unique<H2Connection>(worker.context(), static_cast<H2Connection::Owner&>(*this),
                                                 std::move(fd), std::move(tls), ConfigOf(worker.limits()),
                                                 worker.limits().tunnel, true)) {
  worker_.tunnels().PushBack(link_);
  worker_.handshaking().PushBack(handshake_link_);
  ++worker_.handshakes;
  worker_.TunnelHere();
  worker_.shared().tunnels.fetch_add(1, std::memory_order_relaxed);
}

void Tunnel::OnIdentityChanged(const IdentityContext& context) {
  if (connection_->up() && !connection_->tls().PeerTrustedBy(context)) {
    Abort(WEFT_R_CERT_REVOKED, "peer's authority was removed");
  }
}

void Tunnel::OnUp(H2Connection& connection) {
  handshake_link_.Unlink();
  --worker_.handshakes;
  identity_ = connection.tls().peer().ToUri();
  counted_ = worker_.shared().tunnel_peers.Add(peer_.ip, worker_.limits().max_tunnels_per_peer);
  if (!counted_) return Abort(WEFT_R_LIMIT_EXCEEDED, "too many tunnels of one peer");
  // The authorities may have changed during the handshake.
  if (!connection.tls().PeerTrustedBy(*worker_.identity())) {
    return Abort(WEFT_R_CERT_REVOKED, "peer's authority was removed");
  }
  worker_.context().loop.Arm(first_stream_timer_, worker_.limits().first_stream_ms);
  if (worker_.draining()) Drain();
}

void Tunnel::OnRequest(H2Connection&, H2Stream& stream, HeaderBlock headers, bool) {
  had_stream_ = true;
  first_stream_timer_.Disarm();
  if (headers.malformed) return Refuse(stream, "400", headers, "malformed request");
  if (headers.method != "CONNECT" || headers.has_path_or_scheme || headers.has_protocol) {
    return Refuse(stream, "400", headers, "not a plain CONNECT");
  }
  const std::optional<Authority> authority = ParseAuthority(headers.authority);
  if (!authority) return Refuse(stream, "400", headers, "malformed authority");
  if (IsReserved(authority->port)) return Refuse(stream, "503", headers, "a port of the mesh itself");
  // ztunnel and our agent take any status but 2xx for a failure to connect, and
  // reset their client.
  std::shared_ptr<Port> port = worker_.FindPort(KeyOf(*authority));
  if (!port) return Refuse(stream, "503", headers, "no such destination");
  if (worker_.open_connections() >= worker_.limits().max_connections) {
    return Refuse(stream, "503", headers, "too many connections");
  }
  StreamInfo info;
  info.local = local_;
  info.remote = peer_;
  info.peer_identity = identity_;
  info.tls = true;
  info.authority = authority->address.value_or(SocketAddress{port->address(), authority->port});
  info.baggage = std::move(headers.baggage);
  info.traceparent = std::move(headers.traceparent);
  const SocketAddress destination = info.authority;
  auto hbone = std::make_unique<HboneServerStream>(worker_.context(), *connection_, stream, std::move(info));
  auto answer = std::make_unique<TunnelAnswer>(*hbone, worker_.shared().catalog.baggage);
  worker_.StartChain(std::move(port), std::move(hbone), std::move(answer), destination);
}

void Tunnel::Refuse(H2Stream& stream, const char* status, const HeaderBlock& headers, const char* why) {
  StreamInfo info;
  info.local = local_;
  info.remote = peer_;
  info.peer_identity = identity_;
  info.tls = true;
  info.baggage = headers.baggage;
  if (const auto authority = ParseAuthority(headers.authority); authority && authority->address) {
    info.authority = *authority->address;
  }
  worker_.RecordRefusal(info, l7::Flag::kNR, why);
  const HeaderField fields[] = {{":status", status}};
  const bool peer_done = stream.remote_closed();
  connection_->session().Answer(stream, fields, true);
  // A complete answer to an incomplete request: the rest of it is not wanted
  // (RFC 9113 section 8.1).
  if (!peer_done) connection_->session().Reset(stream, h2::kNoError);
}

void Tunnel::OnDown(H2Connection&) {
  first_stream_timer_.Disarm();
  link_.Unlink();
  if (identity_.empty()) {
    handshake_link_.Unlink();
    --worker_.handshakes;
  }
  if (counted_) worker_.shared().tunnel_peers.Remove(peer_.ip);
  worker_.shared().tunnels.fetch_sub(1, std::memory_order_relaxed);
  worker_.TunnelGone();
  worker_.context().loop.Retire(std::move(connection_));
  worker_.context().loop.Retire(std::unique_ptr<Tunnel>(this));
}

}  // namespace weft::waypoint
