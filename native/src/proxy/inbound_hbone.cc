#include "proxy/inbound_hbone.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "net/socket.h"
#include "proxy/connect_target.h"
#include "proxy/worker.h"

namespace weft {

void AcceptTunnel(Worker& worker, PodState& pod, UniqueFd fd, const SocketAddress& peer) {
  const auto refuse = [&](weft_reason reason) {
    CloseWithReset(fd);
    worker.load(ListenerKind::kInboundHbone).fetch_sub(1, std::memory_order_relaxed);
    worker.Count(reason);
  };
  const std::optional<SocketAddress> local = LocalAddress(fd.get());
  if (!local) return refuse(WEFT_R_PEER_RESET);
  if (pod.shared->tunnels.load(std::memory_order_relaxed) >= worker.limits().max_tunnels_per_pod) {
    return refuse(WEFT_R_LIMIT_EXCEEDED);
  }
  if (pod.shared->handshakes.load(std::memory_order_relaxed) >= worker.limits().max_handshakes_per_pod) {
    // The oldest gives way: peers that never finish must not keep out those that would.
    InboundTunnel* oldest = pod.handshaking.PopFront();
    if (oldest == nullptr) return refuse(WEFT_R_LIMIT_EXCEEDED);
    oldest->Abort(WEFT_R_LIMIT_EXCEEDED, "handshake gave way to newer ones");
  }
  auto* tunnel = new InboundTunnel(worker, pod, std::move(fd), peer, *local);  // owned by itself, see Leave
  tunnel->Begin();
}

// ---- InboundTunnel ------------------------------------------------------------------------------------------------

InboundTunnel::InboundTunnel(Worker& worker, PodState& pod, UniqueFd fd, const SocketAddress& peer,
                             const SocketAddress& local)
    : worker_(worker),
      pod_(pod),
      fd_(std::move(fd)),
      peer_(peer),
      local_(local),
      link_(this),
      handshake_link_(this),
      timer_([this] { OnTimer(); }) {
  pod_.tunnels.PushBack(link_);
  pod_.handshaking.PushBack(handshake_link_);
  ++pod_.tunnel_count;
  pod_.shared->tunnels.fetch_add(1, std::memory_order_relaxed);
  pod_.shared->handshakes.fetch_add(1, std::memory_order_relaxed);
}

InboundTunnel::~InboundTunnel() = default;

void InboundTunnel::Begin() {
  const std::shared_ptr<const IdentityContext> context = worker_.FindIdentity(pod_.config().identity);
  if (context) return OnIdentityChanged(context);
  worker_.context().loop.Arm(timer_, worker_.limits().identity_wait_ms);
  worker_.ReportIdentityMiss(pod_.config().identity);
}

void InboundTunnel::OnIdentityChanged(const std::shared_ptr<const IdentityContext>& context) {
  if (connection_ && connection_->up() && !connection_->tls().PeerTrustedBy(*context)) {
    return Abort(WEFT_R_CERT_REVOKED, "peer's authority was removed");
  }
  if (connection_) return Drain();
  timer_.Disarm();
  Result<std::unique_ptr<TlsConn>> tls = TlsConn::Server(context);
  if (!tls) return Leave(WEFT_R_TLS_FAILURE, tls.error().what);
  SetTcpOptions(fd_.get(), Keepalive{.enabled = false});  // h2 PING watches over tunnels
  connection_ = std::make_unique<H2Connection>(worker_.context(), *this, std::move(fd_), std::move(*tls),
                                               worker_.MakeH2Config(true), worker_.limits().tunnel, true);
  if (Status status = connection_->Begin(); !status) Abort(WEFT_R_INTERNAL, status.error().what);
}

void InboundTunnel::OnUp(H2Connection&) {
  handshaking_ = false;
  handshake_link_.Unlink();
  pod_.shared->handshakes.fetch_sub(1, std::memory_order_relaxed);
  counted_ = pod_.shared->peers.Add(peer_.ip, worker_.limits().max_tunnels_per_peer);
  if (!counted_) return connection_->Abort(WEFT_R_LIMIT_EXCEEDED, "too many tunnels of one peer");
  // The authorities may have changed during the handshake.
  const std::shared_ptr<const IdentityContext> context = worker_.FindIdentity(pod_.config().identity);
  if (!context || !connection_->tls().PeerTrustedBy(*context)) {
    return connection_->Abort(WEFT_R_CERT_REVOKED, "peer's authority was removed");
  }
  worker_.context().loop.Arm(timer_, worker_.limits().first_stream_ms);
}

void InboundTunnel::OnTimer() {
  if (!connection_) return Leave(WEFT_R_IDENTITY_ERROR, "no certificate for the pod");
  if (!had_stream_) connection_->Abort(WEFT_R_IDLE_TIMEOUT, "tunnel without a stream");
}

void InboundTunnel::OnRequest(H2Connection&, H2Stream& stream, HeaderBlock headers, bool) {
  had_stream_ = true;
  ConnectionRecord record = worker_.NewRecord(Path::kInboundHbone, pod_, peer_);
  record.destination = {local_.ip, 0};
  // Owned by the pod's list and the loop, see Connection::Finish. Registered before its first check, so that no
  // policy update falls between.
  auto* inbound = new InboundStream(worker_, pod_, std::move(record), *this, stream);
  inbound->Begin(headers);
}

void InboundTunnel::OnBatchEnd() { worker_.batch().Flush(); }

void InboundTunnel::Drain() {
  if (connection_) return connection_->Drain();
  Leave(WEFT_R_DRAINED, "draining");
}

void InboundTunnel::Abort(weft_reason reason, const std::string& detail) {
  if (connection_) return connection_->Abort(reason, detail);
  Leave(reason, detail);
}

void InboundTunnel::OnDown(H2Connection& connection) { Leave(connection.down_reason(), connection.down_detail()); }

void InboundTunnel::Leave(weft_reason reason, const std::string& detail) {
  if (std::exchange(left_, true)) return;
  timer_.Disarm();
  link_.Unlink();
  handshake_link_.Unlink();
  --pod_.tunnel_count;
  pod_.shared->tunnels.fetch_sub(1, std::memory_order_relaxed);
  worker_.load(ListenerKind::kInboundHbone).fetch_sub(1, std::memory_order_relaxed);
  if (std::exchange(counted_, false)) pod_.shared->peers.Remove(peer_.ip);
  if (std::exchange(handshaking_, false)) {
    pod_.shared->handshakes.fetch_sub(1, std::memory_order_relaxed);
  }
  if (reason != WEFT_R_NONE) worker_.Count(reason);
  // A peer that never got as far as a stream leaves a record of its own, else nobody could tell who it was.
  if (!had_stream_ && reason != WEFT_R_NONE && reason != WEFT_R_DRAINED) {
    ConnectionRecord record = worker_.NewRecord(Path::kInboundHbone, pod_, peer_);
    record.destination = local_;
    record.reason = reason;
    record.detail = detail;
    worker_.EmitRefusal(std::move(record));
  }
  fd_.Reset();
  if (connection_) worker_.context().loop.Retire(std::move(connection_));
  worker_.context().loop.Retire(std::unique_ptr<InboundTunnel>(this));
}

// ---- InboundStream ------------------------------------------------------------------------------------------------

InboundStream::InboundStream(Worker& worker, PodState& pod, ConnectionRecord record, InboundTunnel& tunnel,
                             H2Stream& stream)
    : Connection(worker, pod, std::move(record)),
      TunnelRelay(worker.context(), worker.batch(), pod.pending),
      peer_identity_(tunnel.connection().tls().peer()),
      dial_timer_([this] { Refuse("503", WEFT_R_UPSTREAM_TIMEOUT, "application did not accept in time"); }) {
  stream.set_handler(this);
  BindStream(tunnel.connection(), stream);
  record_.peer_identity = peer_identity_.ToUri();
}

void InboundStream::Begin(const HeaderBlock& headers) {
  record_.authority = headers.authority;
  record_.baggage = headers.baggage;
  record_.forwarded = headers.forwarded;
  if (const auto trace_id = TraceIdOf(headers.traceparent)) record_.trace_id = *trace_id;

  if (headers.malformed) return Refuse("400", WEFT_R_PROTOCOL_ERROR, "malformed request");
  if (headers.method != "CONNECT") return Refuse("400", WEFT_R_NOT_CONNECT, "method is not CONNECT");
  if (headers.has_path_or_scheme || headers.has_protocol) {
    return Refuse("400", WEFT_R_NOT_CONNECT, "CONNECT with :path, :scheme or :protocol");
  }
  const ConnectTarget target = ResolveAuthority(headers.authority, pod_, record_.destination.ip);
  record_.destination.port = target.port;
  switch (target.outcome) {
    case ConnectTarget::Outcome::kMalformed:
      return Refuse("400", WEFT_R_BAD_AUTHORITY, "malformed authority");
    case ConnectTarget::Outcome::kOtherAddress:
      return Refuse("400", WEFT_R_BAD_AUTHORITY, "authority is not this pod");
    case ConnectTarget::Outcome::kUnknownHost:
      return Refuse("503", WEFT_R_BAD_AUTHORITY, "unknown host in authority");
    case ConnectTarget::Outcome::kReservedPort:
      return Refuse("503", WEFT_R_RESERVED_PORT, "destination is the agent itself");
    case ConnectTarget::Outcome::kOk:
      break;
  }
  if (const auto denied = Denied(&record_.source)) return Refuse("401", WEFT_R_POLICY_DENIED, *denied);
  record_.upstream = record_.destination;
  Result<UniqueFd> app = worker_.DialApplication(pod_, record_.destination, record_.source);
  if (!app) return Refuse("503", WEFT_R_UPSTREAM_REFUSED, app.error().what + ": " + std::strerror(app.error().code));
  context_.loop.Arm(dial_timer_, worker_.limits().dial_ms);
  if (Status status = Attach(std::move(*app), true); !status) Refuse("503", WEFT_R_INTERNAL, status.error().what);
}

std::optional<PeerInfo> InboundStream::Peer() const {
  return PeerInfo{&peer_identity_, record_.source.ip, record_.destination.ip, record_.destination.port};
}

void InboundStream::OnDialed() {
  dial_timer_.Disarm();
  record_.established = true;
  const HeaderField fields[] = {{":status", "200"}, {"baggage", pod_.baggage}};
  tunnel_->session().Answer(*stream_, fields, false);
  StartRelay();
}

void InboundStream::OnDialFailed(int error) {
  Refuse("503", error == ETIMEDOUT ? WEFT_R_UPSTREAM_TIMEOUT : WEFT_R_UPSTREAM_REFUSED, std::strerror(error));
}

void InboundStream::Refuse(const char* status, weft_reason reason, std::string detail) {
  if (finished()) return;
  dial_timer_.Disarm();
  if (H2Stream* stream = std::exchange(stream_, nullptr)) {
    stream->set_handler(nullptr);
    const HeaderField fields[] = {{":status", status}};
    H2Session& session = tunnel_->session();
    const bool peer_done = stream->remote_closed();
    session.Answer(*stream, fields, true);
    // A complete answer to an incomplete request: the rest of it is not wanted (RFC 9113 section 8.1).
    if (!peer_done) session.Reset(*stream, h2::kNoError);
  }
  StopRelay(reason);
  Finish(reason, std::move(detail));
}

void InboundStream::OnStreamClosed(uint32_t code, bool by_peer) {
  if (record_.established || finished()) return TunnelRelay::OnStreamClosed(code, by_peer);
  stream_ = nullptr;
  if (tunnel_->down()) return Terminate(tunnel_->down_reason(), tunnel_->down_detail());
  Terminate(WEFT_R_PEER_RESET, "peer gave up before the answer");
}

void InboundStream::OnRelayEnd(weft_reason reason, std::string detail) {
  dial_timer_.Disarm();
  Finish(reason, std::move(detail));
}

void InboundStream::Terminate(weft_reason reason, std::string detail) {
  if (finished()) return;
  dial_timer_.Disarm();
  if (reason == WEFT_R_NONE) reason = WEFT_R_PEER_RESET;
  StopRelay(reason);
  Finish(reason, std::move(detail));
}

ConnectionRecord InboundStream::Snapshot() const {
  ConnectionRecord record = Connection::Snapshot();
  record.request_bytes = to_app_bytes_;
  record.response_bytes = from_app_bytes_;
  return record;
}

}  // namespace weft
