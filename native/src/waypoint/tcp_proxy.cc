#include "waypoint/tcp_proxy.h"

#include <utility>

#include "base/clock.h"
#include "l7/program.h"
#include "policy/spiffe_id.h"
#include "security/security_filter.h"
#include "waypoint/l7_worker.h"

namespace weft::waypoint {

void TcpProxy::Start(L7Worker& worker, std::shared_ptr<Port> port, Begin begin) {
  const std::string* sni = begin.sni;
  const bool handshake = begin.handshake;
  auto* proxy = new TcpProxy(worker, std::move(port), begin);  // owned by itself, see Downstream
  // What the handshake proves is asked for, so it comes first.
  if (!handshake) proxy->Connect(sni);
}

TcpProxy::TcpProxy(L7Worker& worker, std::shared_ptr<Port> port, Begin& begin)
    : Downstream(worker, std::move(port)),
      info_(begin.stream->info()),
      answer_(std::move(begin.answer)),
      destination_name_(port_->destination()),
      telemetry_(port_->chain().telemetry),
      destination_(begin.destination),
      first_(worker.context().buffers),
      read_end_(begin.read_end),
      began_us_(MonotonicUs()),
      idle_timer_([this] { OnIdle(); }),
      duration_timer_([this] {
        record_.termination_details = "max connection duration reached";
        Abort();
      }),
      report_timer_([this] { Report(); }) {
  down_.stream = std::move(begin.stream);
  down_.stream->set_handler(&down_);
  first_.Append(begin.first);
  down_.received = begin.first.size();
  record_.tcp = true;
  record_.start_unix_ms = UnixMs();
  record_.downstream = &info_;
  record_.client = info_.remote;
  if (begin.sni != nullptr) info_.sni = *begin.sni;
}

void TcpProxy::Connect(const std::string* sni) {
  const l7::ChainProgram& chain = port_->chain();
  record_.destination = destination_name_;
  record_.telemetry = telemetry_.get();
  // Nothing is read while there is nowhere to write to.
  down_.stream->PauseReads();
  down_.paused = true;
  if (chain.security) {
    const security::PolicyDecision decision = security::DecideTcp(*chain.security, info_, dry_run_);
    record_.dry_run_deny = dry_run_.deny;
    record_.dry_run_allow = dry_run_.allow;
    if (!decision.allowed) return Fail(std::nullopt, decision.Details());
  }
  const l7::TcpRouteProgram* route = FindRoute(chain, sni);
  if (route == nullptr) return Fail(l7::Flag::kNR, "no route");
  route_name_ = route->origin;
  record_.route_name = route_name_;
  const std::string* cluster = route->Draw(worker_.Random());
  if (cluster == nullptr) return Fail(l7::Flag::kNR, "route without a cluster");
  cluster_name_ = *cluster;
  record_.cluster_name = cluster_name_;
  record_.cluster = worker_.clusters().Find(*cluster);
  if (!record_.cluster) return Fail(l7::Flag::kNC, "no cluster");
  upstream::PickContext pick;
  pick.source = info_.remote.ip;
  pick.original_destination = destination_;
  record_.endpoint = record_.cluster->Pick(pick);
  if (!record_.endpoint) return Fail(l7::Flag::kUH, "no healthy upstream");
  up_.stream = record_.cluster->Open(record_.endpoint, info_);
  if (!up_.stream) return Fail(l7::Flag::kUO, "upstream overflow");
  worker_.records().OnTcpOpened(record_);
  idle_ms_ = route->idle_ms != 0 ? route->idle_ms : record_.cluster->tcp_idle_ms();
  up_.stream->set_handler(&up_);
  if (Status status = up_.stream->Begin(); !status) return OnDown(up_, StreamEnd::kRefused, status.error().what);
  const uint64_t most = record_.cluster->max_connection_duration_ms();
  if (most != 0) worker_.context().loop.Arm(duration_timer_, most);
}

const l7::TcpRouteProgram* TcpProxy::FindRoute(const l7::ChainProgram& chain, const std::string* sni) const {
  const auto peer = SpiffeId::Parse(info_.peer_identity);
  const std::string_view peer_namespace = peer ? std::string_view(peer->namespace_name) : std::string_view();
  if (sni != nullptr) {
    for (const l7::TlsRouteProgram& tls : chain.tls) {
      if (tls.MatchesSni(*sni) && tls.route.Matches(destination_.ip, peer_namespace)) return &tls.route;
    }
  }
  for (const l7::TcpRouteProgram& tcp : chain.tcp) {
    if (tcp.Matches(destination_.ip, peer_namespace)) return &tcp;
  }
  return nullptr;
}

void TcpProxy::OnUp(Side& side) {
  if (finished_) return;
  if (&side == &up_) return OnConnected();
  info_ = side.stream->info();
  if (!up_.stream) Connect(nullptr);
}

void TcpProxy::OnConnected() {
  connected_ = true;
  active_ms_ = worker_.context().loop.now_ms();
  if (idle_ms_ != 0) worker_.context().loop.Arm(idle_timer_, idle_ms_);
  if (const auto answer = std::exchange(answer_, nullptr)) answer->Accept();
  if (!first_.empty()) up_.stream->Write(first_.bytes());
  first_.Clear();
  if (read_end_) up_.stream->FinishWrites();
  // What has been kept back comes from here on, unless the endpoint is slow already.
  if (up_.stream->WriteRoom() > 0) {
    down_.paused = false;
    down_.stream->ResumeReads();
  }
  worker_.context().loop.Arm(report_timer_, l7::RecordSink::kTcpReportMs);
}

void TcpProxy::OnBytes(Side& side, std::span<const uint8_t> bytes) {
  Side& other = side.other_;
  side.received += bytes.size();
  active_ms_ = worker_.context().loop.now_ms();
  if (!other.stream) return;  // going down
  other.stream->Write(bytes);
  if (other.stream->WriteRoom() > 0 || side.paused) return;
  side.paused = true;
  side.stream->PauseReads();
}

void TcpProxy::Side::OnReadEnd() {
  if (!proxy_.connected_) {
    proxy_.read_end_ = true;
  } else if (other_.stream) {
    other_.stream->FinishWrites();
  }
}

void TcpProxy::Side::OnWritable() {
  if (!other_.stream || !other_.paused || !proxy_.connected_) return;
  other_.paused = false;
  other_.stream->ResumeReads();
}

void TcpProxy::OnDown(Side& side, StreamEnd end, std::string_view detail) {
  if (finished_ || !side.stream) return;
  const bool by_client = &side == &down_;
  if (by_client) answer_.reset();
  if (end != StreamEnd::kClosed || (!connected_ && !by_client)) {
    if (by_client) {
      record_.flags.Set(l7::Flag::kDC);
    } else if (connected_) {
      record_.flags.Set(l7::Flag::kUC);
    } else {
      failure_ = detail;
      record_.transport_failure = failure_;
      Drop(side);
      return Fail(l7::Flag::kUF, detail);
    }
  }
  Drop(side);
  Side& other = side.other_;
  if (!other.stream) return Finish();
  if (end == StreamEnd::kClosed && connected_) return other.stream->Close();
  other.stream->Abort();
  Drop(other);
  Finish();
}

void TcpProxy::Fail(std::optional<l7::Flag> flag, std::string_view details) {
  if (flag) record_.flags.Set(*flag);
  termination_ = details;
  record_.termination_details = termination_;
  if (const auto answer = std::exchange(answer_, nullptr)) {
    answer->Refuse();
  } else if (down_.stream) {
    down_.stream->Abort();
  }
  Drop(down_);
  if (up_.stream) up_.stream->Abort();
  Drop(up_);
  Finish();
}

void TcpProxy::Abort() {
  if (finished_) return;
  if (!connected_) return Fail(l7::Flag::kDC, "draining");
  for (Side* side : {&down_, &up_}) {
    if (side->stream) side->stream->Abort();
    Drop(*side);
  }
  Finish();
}

void TcpProxy::OnIdle() {
  const uint64_t quiet = worker_.context().loop.now_ms() - active_ms_;
  if (quiet < idle_ms_) return worker_.context().loop.Arm(idle_timer_, idle_ms_ - quiet);
  record_.termination_details = "idle timeout";
  Abort();
}

void TcpProxy::Report() {
  worker_.context().loop.Arm(report_timer_, l7::RecordSink::kTcpReportMs);
  const uint64_t received = down_.received - record_.reported_received;
  const uint64_t sent = up_.received - record_.reported_sent;
  if (received == 0 && sent == 0) return;
  worker_.records().OnTcpProgress(record_, received, sent);
  record_.reported_received += received;
  record_.reported_sent += sent;
}

void TcpProxy::Drop(Side& side) {
  if (side.stream) worker_.context().loop.Retire(std::move(side.stream));
}

void TcpProxy::Finish() {
  if (std::exchange(finished_, true)) return;
  idle_timer_.Disarm();
  duration_timer_.Disarm();
  report_timer_.Disarm();
  record_.duration_us = MonotonicUs() - began_us_;
  record_.bytes_received = down_.received;
  record_.bytes_sent = up_.received;
  worker_.records().OnRecord(record_);
  Leave();
}

}  // namespace weft::waypoint
