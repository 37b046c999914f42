#include "net/tcp_stream.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "net/failed_stream.h"
#include "net/transport.h"

namespace weft {
namespace {

// How often in a row the kernel has repeated what was sent, or asked for room to send it, without any answer. None: all
// that was sent has arrived, or it is no TCP.
std::optional<uint8_t> UnansweredRepetitions(int fd) {
  int queued = 0;
  if (ioctl(fd, SIOCOUTQ, &queued) != 0 || queued == 0) return {};
  tcp_info info{};
  socklen_t length = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return {};
  // One of the two: repetitions where the peer has room, probes where it has none. Each answer begins them anew.
  return std::max(info.tcpi_retransmits, info.tcpi_probes);
}

}  // namespace

TcpStream::TcpStream(LoopContext& context, UniqueFd fd, const SocketAddress& remote, uint64_t connect_ms)
    : context_(context),
      fd_(std::move(fd)),
      state_(connect_ms == 0 ? State::kUp : State::kConnecting),
      connect_ms_(connect_ms),
      out_(context.buffers),
      timer_([this] { OnTimer(); }),
      flush_task_([this] { FinishTurn(); }),
      read_task_([this] { Read(); }),
      report_task_([this] { Report(); }) {
  info_.remote = remote;
  if (state_ == State::kUp) {
    if (const std::optional<SocketAddress> local = LocalAddress(fd_.get())) info_.local = *local;
  }
}

TcpStream::~TcpStream() {
  if (fd_) context_.loop.Unwatch(fd_.get());
}

Status TcpStream::Begin() {
  if (Status status = context_.loop.Watch(fd_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, this); !status) {
    return status;
  }
  if (state_ == State::kConnecting) context_.loop.Arm(timer_, connect_ms_);
  return Ok{};
}

void TcpStream::OnIo(uint32_t events) {
  if (state_ == State::kDown) return;
  if (state_ == State::kConnecting) {
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return;
    if (const int error = TakeSocketError(fd_.get()); error != 0) {
      return Down(error == ETIMEDOUT ? StreamEnd::kTimeout : StreamEnd::kRefused, std::strerror(error));
    }
    OnConnected();
    if (state_ == State::kDown) return;
  }
  if ((events & EPOLLOUT) != 0 && !writable_) {
    writable_ = true;
    context_.loop.AtEndOfTurn(flush_task_);
  }
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) peer_finished_ = true;
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
    readable_ = true;
    Read();
  }
}

void TcpStream::OnConnected() {
  state_ = State::kUp;
  timer_.Disarm();
  if (const std::optional<SocketAddress> local = LocalAddress(fd_.get())) info_.local = *local;
  if (handler_ != nullptr) handler_->OnStreamUp();
  if (state_ == State::kUp && !out_.empty()) context_.loop.AtEndOfTurn(flush_task_);
}

void TcpStream::Read() {
  if (state_ != State::kUp && state_ != State::kClosing) return;
  // Closing: what still comes is thrown away, so that our last bytes are not lost to a reset.
  if (read_ended_ || !readable_ || (paused_ && state_ == State::kUp)) return;
  uint8_t* const wire = context_.wire.get();
  const ssize_t n = recv(fd_.get(), wire, LoopContext::kWireBytes, 0);
  if (n < 0) {
    if (errno == EINTR) return context_.loop.NextTurn(read_task_);
    if (errno == EAGAIN) {
      readable_ = false;
      return;
    }
    return Down(StreamEnd::kReset, std::strerror(errno));
  }
  if (n == 0) {
    read_ended_ = true;
    if (state_ == State::kClosing) return Down(end_, {});
    handler_->OnReadEnd();
    if (state_ == State::kUp && finished_) Down(StreamEnd::kClosed, {});
    return;
  }
  // Edge-triggered: a short read has emptied the socket, unless the end of the stream is behind it.
  readable_ = static_cast<size_t>(n) == LoopContext::kWireBytes || peer_finished_;
  if (readable_) context_.loop.NextTurn(read_task_);
  if (state_ == State::kUp) handler_->OnBytes({wire, static_cast<size_t>(n)});
}

void TcpStream::Write(std::span<const uint8_t> bytes) {
  if (state_ == State::kDown || finish_wanted_) return;
  // Large and nothing before it: straight from where it is.
  if (out_.empty() && writable_ && state_ == State::kUp && bytes.size() >= BufferPool::kSmallest) {
    const ssize_t n = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n > 0) bytes = bytes.subspan(static_cast<size_t>(n));
    if (n > 0) Sent();
    if (bytes.empty()) return;
    if (n >= 0 || errno == EAGAIN) writable_ = false;
  }
  out_.Append(bytes);
  WriteSoon();
}

void TcpStream::WriteSoon() {
  if (state_ != State::kDown) context_.loop.AtEndOfTurn(flush_task_);
}

size_t TcpStream::WriteRoom() const {
  if (out_.size() < kHighWatermark) return kHighWatermark - out_.size();
  blocked_ = true;
  return 0;
}

void TcpStream::ResumeReads() {
  if (!paused_) return;
  paused_ = false;
  if (readable_ && state_ == State::kUp) context_.loop.NextTurn(read_task_);
}

void TcpStream::FinishWrites() {
  if (state_ == State::kDown || finish_wanted_) return;
  finish_wanted_ = true;
  context_.loop.AtEndOfTurn(flush_task_);
}

void TcpStream::Close() {
  if (state_ == State::kDown || state_ == State::kClosing) return;
  if (state_ == State::kConnecting) return Down(StreamEnd::kAborted, {});
  state_ = State::kClosing;
  finish_wanted_ = true;
  end_ = StreamEnd::kClosed;
  context_.loop.Arm(timer_, kLingerMs);
  context_.loop.AtEndOfTurn(flush_task_);
  readable_ = true;
  context_.loop.NextTurn(read_task_);
}

void TcpStream::Abort() {
  if (state_ == State::kDown) return;
  handler_ = nullptr;
  if (state_ == State::kConnecting) return Down(StreamEnd::kAborted, {});
  context_.loop.Unwatch(fd_.get());
  CloseWithReset(fd_);
  Down(StreamEnd::kAborted, {});
}

void TcpStream::FinishTurn() {
  if (state_ == State::kDown || state_ == State::kConnecting) return;
  context_.TrimLater();
  Flush();
  if (state_ == State::kDown) return;
  if (finish_wanted_ && !finished_ && out_.empty()) {
    finished_ = true;
    shutdown(fd_.get(), SHUT_WR);
    if (read_ended_) return Down(end_, {});
  }
  if (blocked_ && out_.size() <= kHighWatermark / 2 && state_ == State::kUp) {
    blocked_ = false;
    handler_->OnWritable();
  }
}

void TcpStream::Flush() {
  while (writable_ && !out_.empty()) {
    const ssize_t n = send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      out_.Consume(static_cast<size_t>(n));
      Sent();
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      writable_ = false;
      return;
    }
    // What the peer said before it went is still to be read; reading also finds the reason.
    out_.Clear();
    readable_ = true;
    if (read_ended_ || paused_) return Down(StreamEnd::kReset, std::strerror(errno));
    context_.loop.NextTurn(read_task_);
    return;
  }
}

void TcpStream::OnTimer() {
  if (state_ == State::kConnecting) return Down(StreamEnd::kTimeout, "timed out connecting");
  if (state_ == State::kClosing) return Down(end_, {});
  if (state_ == State::kUp) CheckPeer();
}

// The timer runs on from the first bytes to a look that finds nothing under way: no write has to touch it again.
void TcpStream::Sent() {
  if (state_ == State::kUp && !timer_.armed()) context_.loop.Arm(timer_, kAnswerCheckMs);
}

void TcpStream::CheckPeer() {
  const std::optional<uint8_t> unanswered = UnansweredRepetitions(fd_.get());
  if (!unanswered) return;
  if (*unanswered >= kMaxUnanswered) return Down(StreamEnd::kTimeout, "the peer answers nothing any more");
  context_.loop.Arm(timer_, kAnswerCheckMs);
}

void TcpStream::Down(StreamEnd end, std::string detail) {
  if (state_ == State::kDown) return;
  state_ = State::kDown;
  end_ = end;
  detail_ = std::move(detail);
  if (fd_) context_.loop.Unwatch(fd_.get());
  fd_.Reset();
  timer_.Disarm();
  flush_task_.Cancel();
  read_task_.Cancel();
  out_.Clear();
  context_.loop.NextTurn(report_task_);
}

// In a turn of its own: whoever ends a stream is not called back from within.
void TcpStream::Report() {
  if (handler_ != nullptr) std::exchange(handler_, nullptr)->OnStreamDown(end_, detail_);
}

std::unique_ptr<ByteStream> MakeTcpClient(LoopContext& context, const SocketAddress& address, uint64_t connect_ms,
                                          const Keepalive& keepalive) {
  Result<UniqueFd> fd = OpenTcp(address);
  if (!fd) return std::make_unique<FailedStream>(context, address, StreamEnd::kRefused, fd.error().what);
  SetTcpOptions(fd->get(), keepalive);
  const Result<bool> begun = StartConnect(fd->get(), address);
  if (!begun) return std::make_unique<FailedStream>(context, address, StreamEnd::kRefused, begun.error().what);
  return std::make_unique<TcpStream>(context, std::move(*fd), address, connect_ms);
}

std::unique_ptr<ByteStream> MakeTcpStream(LoopContext& context, UniqueFd fd, const SocketAddress& peer) {
  return std::make_unique<TcpStream>(context, std::move(fd), peer, 0);
}

}  // namespace weft
