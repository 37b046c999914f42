#include "proxy/connection.h"

#include <chrono>
#include <utility>

#include "proxy/admission.h"
#include "proxy/pod_state.h"
#include "proxy/worker.h"

namespace weft {
namespace {

double AgeMs(const ConnectionRecord& record) {
  using namespace std::chrono;
  const auto now = duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count();
  return static_cast<double>(static_cast<uint64_t>(now) - record.opened_mono_us) / 1000.0;
}

ListenerKind KindOf(Path path) {
  return path == Path::kOutbound ? ListenerKind::kOutbound : ListenerKind::kInboundPlaintext;
}

}  // namespace

Connection::Connection(Worker& worker, PodState& pod, ConnectionRecord record)
    : worker_(worker), pod_(pod), record_(std::move(record)), link_(this) {
  pod_.Add(*this);
  pod_.shared->connections.fetch_add(1, std::memory_order_relaxed);
  ++worker_.open_connections_;
}

Connection::~Connection() = default;

ConnectionRecord Connection::Snapshot() const {
  ConnectionRecord record = record_;
  record.duration_ms = AgeMs(record);
  return record;
}

std::optional<std::string> Connection::Denied(const SocketAddress* report) {
  const std::optional<PeerInfo> peer = Peer();
  if (!peer) return std::nullopt;
  Admission admission = Admit(worker_, pod_, *peer, report);
  if (admission.allowed) return std::nullopt;
  record_.policy = std::move(admission.policy);
  return std::move(admission.detail);
}

void Connection::CheckPolicy() {
  if (finished_) return;
  if (auto denied = Denied(nullptr)) Terminate(WEFT_R_POLICY_CHANGED, std::move(*denied));
}

void Connection::Leave() {
  link_.Unlink();
  pod_.shared->connections.fetch_sub(1, std::memory_order_relaxed);
  --worker_.open_connections_;
  // Streams of a tunnel were never placed by themselves.
  if (record_.path != Path::kInboundHbone) {
    worker_.load(KindOf(record_.path)).fetch_sub(1, std::memory_order_relaxed);
  }
  worker_.context().loop.Retire(std::unique_ptr<Connection>(this));
}

ConnectionRecord Connection::HandOver() {
  finished_ = true;
  ConnectionRecord record = std::move(record_);
  record_.path = record.path;
  // The successor counts as the same placed connection.
  if (record.path != Path::kInboundHbone) worker_.load(KindOf(record.path)).fetch_add(1, std::memory_order_relaxed);
  Leave();
  return record;
}

void Connection::Finish(weft_reason reason, std::string detail) {
  if (std::exchange(finished_, true)) return;
  record_ = Snapshot();
  record_.reason = reason;
  record_.detail = std::move(detail);
  worker_.Count(reason);
  if (record_.path == Path::kOutbound || record_.established) {
    worker_.Emit(Closed(record_));
  } else {
    worker_.EmitRefusal(record_);
  }
  Leave();
}

}  // namespace weft
