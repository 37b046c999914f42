#include "hbone/h2_connection.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "net/socket.h"

namespace weft {
namespace {

// PING payload of a drain: its ack proves that the peer has seen the first GOAWAY.
constexpr uint64_t kDrainPing = 0x6472'6169'6e21;
constexpr uint64_t kKeepalivePing = 0x6b65'6570;

}  // namespace

H2Connection::H2Connection(LoopContext& context, Owner& owner, UniqueFd fd, std::unique_ptr<TlsConn> tls,
                           const H2Config& config, const TunnelTimeouts& timeouts, bool connected)
    : context_(context),
      owner_(owner),
      fd_(std::move(fd)),
      tls_(std::move(tls)),
      session_(config, *this),
      timeouts_(timeouts),
      state_(connected ? State::kHandshaking : State::kConnecting),
      is_server_(config.server),
      staged_(context.buffers),
      out_(context.buffers),
      timer_([this] { OnTimer(); }),
      flush_task_([this] { FinishTurn(); }),
      read_task_([this] { Read(); }) {}

H2Connection::~H2Connection() = default;

Status H2Connection::Begin() {
  if (Status status = context_.loop.Watch(fd_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, this); !status) {
    return status;
  }
  const bool connecting = state_ == State::kConnecting;
  context_.loop.Arm(timer_, connecting ? timeouts_.connect_ms : timeouts_.handshake_ms);
  if (!connecting && !is_server_) OnConnected();
  return Ok{};
}

void H2Connection::OnConnected() {
  state_ = State::kHandshaking;
  context_.loop.Arm(timer_, timeouts_.handshake_ms);
  if (is_server_) return;
  if (Status status = tls_->Start(out_); !status) return Fail(WEFT_R_TLS_FAILURE, status.error().what);
  context_.loop.AtEndOfTurn(flush_task_);
}

void H2Connection::OnIo(uint32_t events) {
  if (state_ == State::kDown) return;
  if (state_ == State::kConnecting) {
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return;
    if (const int error = TakeSocketError(fd_.get()); error != 0) {
      return Fail(error == ETIMEDOUT ? WEFT_R_NETWORK_POLICY : WEFT_R_UPSTREAM_REFUSED, std::strerror(error));
    }
    OnConnected();
    if (state_ == State::kDown) return;
  }
  if ((events & EPOLLOUT) != 0 && !writable_) {
    writable_ = true;
    context_.loop.AtEndOfTurn(flush_task_);
  }
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) peer_finished_ = true;
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) Read();
}

void H2Connection::Read() {
  if (state_ == State::kDown) return;
  uint8_t* const wire = context_.wire.get();
  const ssize_t n = recv(fd_.get(), wire, LoopContext::kWireBytes, 0);
  if (n < 0) {
    if (errno == EAGAIN || errno == EINTR) return;
    return Fail(up() ? WEFT_R_PEER_RESET : WEFT_R_TLS_FAILURE, std::strerror(errno));
  }
  if (n == 0) {
    if (!up()) return Fail(WEFT_R_TLS_FAILURE, "peer closed during the TLS handshake");
    return Fail(session_.open_streams() == 0 ? WEFT_R_NONE : WEFT_R_PEER_RESET, "peer closed the tunnel");
  }
  const bool was_established = tls_->established();
  const Status status = tls_->Feed({wire, static_cast<size_t>(n)}, out_, *this);
  owner_.OnBatchEnd();
  if (state_ == State::kDown) return;
  if (!status) return Fail(WEFT_R_TLS_FAILURE, status.error().what);
  if (!was_established && tls_->established() && state_ == State::kHandshaking) AfterHandshake();
  if (state_ == State::kDown) return;
  if (session_.failed()) return Fail(session_.failure(), session_.failure_detail());
  if (tls_->peer_closed())
    return Fail(session_.open_streams() == 0 ? WEFT_R_NONE : WEFT_R_PEER_RESET, "peer closed TLS");
  context_.loop.AtEndOfTurn(flush_task_);
  // Edge-triggered: a short read has emptied the socket, unless the end of the stream is behind it.
  if (static_cast<size_t>(n) == LoopContext::kWireBytes || peer_finished_) context_.loop.NextTurn(read_task_);
}

void H2Connection::AfterHandshake() {
  state_ = State::kUp;
  context_.loop.Arm(timer_, timeouts_.ping_interval_ms);
  session_.Start();
  const bool drains = draining_;
  owner_.OnUp(*this);
  if (drains && state_ == State::kUp) SayGoingAway();
}

void H2Connection::OnPlain(std::span<const uint8_t> bytes) {
  // The first application data may come in the same read as the end of the handshake.
  if (state_ == State::kHandshaking) AfterHandshake();
  if (state_ == State::kUp && !session_.failed()) session_.Receive(bytes, context_.loop.now_ms());
}

void H2Connection::OnFrames(std::span<const uint8_t> bytes) {
  if (state_ == State::kDown) return;
  if (bytes.size() <= kStageBytes) {
    staged_.Append(bytes);
    if (staged_.size() > 4 * kStageBytes) SealStaged();
  } else {
    SealStaged();
    // An error here repeats itself at the next read or write of this connection.
    [[maybe_unused]] const Status status = tls_->Seal(bytes, out_);
  }
  context_.loop.AtEndOfTurn(flush_task_);
}

void H2Connection::SealStaged() {
  if (staged_.empty()) return;
  [[maybe_unused]] const Status status = tls_->Seal(staged_.bytes(), out_);
  staged_.Clear();
}

size_t H2Connection::SendRoom() {
  // Half of the buffer free before more is taken, so that a full socket does not cause a trickle of small reads.
  return out_.size() > kOutputHigh / 2 ? 0 : kOutputHigh - out_.size();
}

void H2Connection::OnRequest(H2Stream& stream, HeaderBlock headers, bool end) {
  owner_.OnRequest(*this, stream, std::move(headers), end);
}

void H2Connection::OnCapacityChanged() {
  if (state_ == State::kUp) owner_.OnCapacityChanged(*this);
  if (draining_ && session_.open_streams() == 0) context_.loop.AtEndOfTurn(flush_task_);
}

void H2Connection::OnPingAck(uint64_t payload) {
  if (payload == kKeepalivePing) ping_outstanding_ = false;
  if (payload != kDrainPing || !draining_) return;
  drain_seen_ = true;
  session_.FinishDrain();
}

void H2Connection::FinishTurn() {
  if (state_ == State::kDown) return;
  context_.TrimLater();
  if (!Flush()) return;
  if (state_ == State::kUp) {
    session_.ResumeBlocked();
    if (state_ == State::kDown || !Flush()) return;
    if (draining_ && drain_seen_ && session_.open_streams() == 0 && out_.empty()) Fail(WEFT_R_NONE, "drained");
  }
}

bool H2Connection::Flush() {
  SealStaged();
  while (writable_ && !out_.empty()) {
    const ssize_t n = send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      out_.Consume(static_cast<size_t>(n));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      writable_ = false;
      break;
    }
    // Read what the peer may have said before it went (a TLS alert, GOAWAY).
    peer_finished_ = true;
    out_.Clear();
    context_.loop.NextTurn(read_task_);
    return true;
  }
  if (out_.size() <= kOutputHardLimit) return true;
  Fail(WEFT_R_LIMIT_EXCEEDED, "peer does not read");
  return false;
}

void H2Connection::OnTimer() {
  const uint64_t now = context_.loop.now_ms();
  switch (state_) {
    case State::kConnecting:
      return Fail(WEFT_R_NETWORK_POLICY, "timed out connecting; is a NetworkPolicy blocking port 15008?");
    case State::kHandshaking:
      return Fail(WEFT_R_TLS_FAILURE, "TLS handshake timed out");
    case State::kUp:
      break;
    case State::kDown:
      return;
  }
  if (ping_outstanding_ && now - ping_sent_ms_ >= timeouts_.ping_timeout_ms) {
    return Fail(is_server_ ? WEFT_R_IDLE_TIMEOUT : WEFT_R_UPSTREAM_TIMEOUT, "no answer to h2 PING");
  }
  if (!ping_outstanding_) {
    ping_outstanding_ = true;
    ping_sent_ms_ = now;
    session_.SendPing(kKeepalivePing);
  }
  context_.loop.Arm(timer_, timeouts_.ping_interval_ms);
}

void H2Connection::Drain() {
  if (state_ == State::kDown || draining_) return;
  draining_ = true;
  if (state_ == State::kUp) SayGoingAway();
}

void H2Connection::SayGoingAway() {
  // A client decides alone; a server may have streams of the peer on their way.
  drain_seen_ = !is_server_;
  session_.StartDrain();
  session_.SendPing(kDrainPing);
  context_.loop.AtEndOfTurn(flush_task_);
}

void H2Connection::Abort(weft_reason reason, std::string detail) { Fail(reason, std::move(detail)); }

void H2Connection::Fail(weft_reason reason, std::string detail) {
  if (state_ == State::kDown) return;
  const bool said_hello = tls_->established();
  SealStaged();
  if (said_hello) tls_->SealClose(out_);
  if (!out_.empty() && state_ != State::kConnecting) {
    // Last words (alert, GOAWAY), best effort.
    [[maybe_unused]] const ssize_t n = send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
  }
  state_ = State::kDown;
  down_reason_ = reason;
  down_detail_ = std::move(detail);
  context_.loop.Unwatch(fd_.get());
  fd_.Reset();
  timer_.Disarm();
  flush_task_.Cancel();
  read_task_.Cancel();
  out_.Clear();
  session_.CloseAll(h2::kInternalError, reason == WEFT_R_PEER_RESET);
  owner_.OnDown(*this);
}

}  // namespace weft
