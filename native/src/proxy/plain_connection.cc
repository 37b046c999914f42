#include "proxy/plain_connection.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "net/socket.h"
#include "proxy/worker.h"

namespace weft {

void AcceptPlaintext(Worker& worker, PodState& pod, UniqueFd fd, const SocketAddress& peer) {
  ConnectionRecord record = worker.NewRecord(Path::kInboundPlaintext, pod, peer);
  // sk_lookup leaves the packet's own address on the socket.
  const std::optional<SocketAddress> original = LocalAddress(fd.get());
  if (original) record.destination = *original;
  const SocketAddress upstream = record.destination;
  BeginPlain(worker, pod, std::move(record), std::move(fd), upstream, PlainDial::kApplication);
}

void BeginPlain(Worker& worker, PodState& pod, ConnectionRecord record, UniqueFd fd, const SocketAddress& upstream,
                PlainDial dial) {
  auto* connection = new PlainConnection(worker, pod, std::move(record));  // owned by its pod's list and the loop
  connection->Begin(std::move(fd), upstream, dial);
}

PlainConnection::PlainConnection(Worker& worker, PodState& pod, ConnectionRecord record)
    : Connection(worker, pod, std::move(record)),
      SocketRelay(worker.context(), pod.pending),
      dial_timer_([this] { Terminate(WEFT_R_UPSTREAM_TIMEOUT, "connect timed out"); }) {}

void PlainConnection::Begin(UniqueFd fd, const SocketAddress& upstream, PlainDial dial) {
  const auto refuse = [&](weft_reason reason, std::string detail) {
    CloseWithReset(fd);
    Terminate(reason, std::move(detail));
  };
  const bool inbound = dial == PlainDial::kApplication;
  if (inbound) {
    // A peer that dials 15006 by itself has it as its destination: it was never steered.
    if (IsReservedPort(upstream.port)) return refuse(WEFT_R_RESERVED_PORT, "destination is the agent itself");
    if (const auto denied = Denied(&record_.source)) return refuse(WEFT_R_POLICY_DENIED, *denied);
  }
  record_.upstream = upstream;
  Result<UniqueFd> dialled =
      inbound ? worker_.DialApplication(pod_, upstream, record_.source) : worker_.OpenSocket(pod_, upstream);
  if (dialled && !inbound) {
    if (Result<bool> started = StartConnect(dialled->get(), upstream); !started) dialled = started.error();
  }
  if (!dialled)
    return refuse(WEFT_R_UPSTREAM_REFUSED, dialled.error().what + ": " + std::strerror(dialled.error().code));
  context_.loop.Arm(dial_timer_, worker_.limits().dial_ms);
  if (Status status = Attach(std::move(fd), std::move(*dialled), true); !status) {
    Terminate(WEFT_R_INTERNAL, status.error().what);
  }
}

void PlainConnection::OnDialed() {
  dial_timer_.Disarm();
  record_.established = true;
  StartRelay();
}

void PlainConnection::OnDialFailed(int error) {
  Terminate(error == ETIMEDOUT ? WEFT_R_UPSTREAM_TIMEOUT : WEFT_R_UPSTREAM_REFUSED, std::strerror(error));
}

void PlainConnection::OnRelayEnd(weft_reason reason, std::string detail) {
  dial_timer_.Disarm();
  Finish(reason, std::move(detail));
}

void PlainConnection::Terminate(weft_reason reason, std::string detail) {
  if (finished()) return;
  dial_timer_.Disarm();
  StopRelay(reason);
  Finish(reason, std::move(detail));
}

std::optional<PeerInfo> PlainConnection::Peer() const {
  if (record_.path != Path::kInboundPlaintext) return std::nullopt;
  return PeerInfo{nullptr, record_.source.ip, record_.destination.ip, record_.destination.port};
}

ConnectionRecord PlainConnection::Snapshot() const {
  ConnectionRecord record = Connection::Snapshot();
  record.request_bytes = request_bytes_;
  record.response_bytes = response_bytes_;
  return record;
}

}  // namespace weft
