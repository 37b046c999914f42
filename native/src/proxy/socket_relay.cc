#include "proxy/socket_relay.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "net/socket.h"

namespace weft {

SocketRelay::SocketRelay(LoopContext& context, PendingShare& share)
    : context_(context), share_(share), downstream_(*this, context), upstream_(*this, context), pump_task_([this] {
        PumpBoth();
      }) {}

SocketRelay::~SocketRelay() = default;

Status SocketRelay::Attach(UniqueFd downstream, UniqueFd upstream, bool connecting) {
  constexpr uint32_t kEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  downstream_.fd = std::move(downstream);
  upstream_.fd = std::move(upstream);
  connecting_ = connecting;
  if (Status status = context_.loop.Watch(downstream_.fd.get(), kEvents, &downstream_); !status) return status;
  return context_.loop.Watch(upstream_.fd.get(), kEvents, &upstream_);
}

void SocketRelay::StartRelay() {
  relaying_ = true;
  context_.loop.AtEndOfTurn(pump_task_);
}

void SocketRelay::StopRelay(weft_reason reason) {
  if (ended_) return;
  ended_ = true;
  pump_task_.Cancel();
  DropPending();
  for (Side* side : {&downstream_, &upstream_}) {
    if (reason == WEFT_R_NONE) {
      side->fd.Reset();
    } else {
      CloseWithReset(side->fd);
    }
  }
}

void SocketRelay::DropPending() {
  for (Side* side : {&downstream_, &upstream_}) {
    share_.Give(side->pending.size());
    side->pending.Clear();
  }
}

void SocketRelay::End(weft_reason reason, std::string detail) {
  if (ended_) return;
  StopRelay(reason);
  OnRelayEnd(reason, std::move(detail));
}

void SocketRelay::Side::OnIo(uint32_t events) { relay.OnIo(*this, events); }

void SocketRelay::OnIo(Side& side, uint32_t events) {
  if (ended_) return;
  if (connecting_ && &side == &upstream_) {
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return;
    connecting_ = false;
    if (const int error = TakeSocketError(side.fd.get()); error != 0) return OnDialFailed(error);
    OnDialed();
    if (ended_) return;
  }
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) side.finished = true;
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) side.readable = true;
  if ((events & EPOLLOUT) != 0) side.writable = true;
  if (!relaying_) {
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) End(WEFT_R_PEER_RESET, "client went away");
    return;
  }
  PumpBoth();
}

void SocketRelay::PumpBoth() {
  if (ended_ || !relaying_) return;
  Pump(downstream_, upstream_, request_bytes_);
  if (!ended_) Pump(upstream_, downstream_, response_bytes_);
  if (!ended_ && downstream_.eof && upstream_.eof && downstream_.pending.empty() && upstream_.pending.empty()) {
    End(WEFT_R_NONE, {});
  }
}

bool SocketRelay::WritePending(Side& to) {
  while (!to.pending.empty()) {
    if (!to.writable) return false;
    const ssize_t n = send(to.fd.get(), to.pending.data(), to.pending.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      to.pending.Consume(static_cast<size_t>(n));
      share_.Give(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {
      to.writable = false;
    } else if (errno != EINTR) {
      End(WEFT_R_PEER_RESET, std::strerror(errno));
      return false;
    }
  }
  return true;
}

void SocketRelay::Pump(Side& from, Side& to, uint64_t& bytes) {
  if (!WritePending(to)) return;
  if (from.eof || !from.readable) return;
  uint8_t* const scratch = context_.app.get();
  const ssize_t n = recv(from.fd.get(), scratch, kReadBytes, 0);
  if (n < 0) {
    if (errno == EAGAIN) {
      from.readable = false;
    } else if (errno != EINTR) {
      End(WEFT_R_PEER_RESET, std::strerror(errno));
    }
    return;
  }
  if (n == 0) {
    from.eof = true;
    shutdown(to.fd.get(), SHUT_WR);
    return;
  }
  bytes += static_cast<uint64_t>(n);
  ssize_t sent = to.writable ? send(to.fd.get(), scratch, static_cast<size_t>(n), MSG_NOSIGNAL) : 0;
  if (sent < 0) {
    if (errno != EAGAIN && errno != EINTR) return End(WEFT_R_PEER_RESET, std::strerror(errno));
    to.writable = errno == EINTR;
    sent = 0;
  }
  if (const auto left = static_cast<size_t>(n - sent); left > 0) {
    if (!share_.Take(left)) return End(WEFT_R_LIMIT_EXCEEDED, "too much waits for the pod's applications");
    to.pending.Append({scratch + sent, left});
  }
  // Edge-triggered: a short read has emptied the socket, unless the end of the stream is behind it.
  if (static_cast<size_t>(n) == kReadBytes || from.finished) {
    context_.loop.NextTurn(pump_task_);
  } else {
    from.readable = false;
  }
}

}  // namespace weft
