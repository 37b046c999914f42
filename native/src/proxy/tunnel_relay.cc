#include "proxy/tunnel_relay.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "net/socket.h"

namespace weft {
namespace {

constexpr size_t kRecordBytes = 16 * 1024;
// Payload of a frame that fills one TLS record, and of one that fills all records of a read.
constexpr size_t kRecordSlice = kRecordBytes - h2::kFrameHeaderBytes;
constexpr size_t kBigSlice = TunnelRelay::kReadBytes - h2::kFrameHeaderBytes;

}  // namespace

void WriteBatch::Add(TunnelRelay& relay, std::span<const uint8_t> bytes) {
  if (relay_ != &relay || n_ == kPieces) Flush();
  relay_ = &relay;
  pieces_[n_++] = {const_cast<uint8_t*>(bytes.data()), bytes.size()};  // iovec has no const; sendmsg only reads
}

void WriteBatch::Flush(const TunnelRelay* ending) {
  TunnelRelay* const relay = std::exchange(relay_, nullptr);
  const size_t n = std::exchange(n_, 0);
  if (relay != nullptr) relay->WritePieces(pieces_, n, relay == ending);
}

TunnelRelay::TunnelRelay(LoopContext& context, WriteBatch& batch, PendingShare& share)
    : context_(context), batch_(batch), share_(share), to_app_(context.buffers), read_task_([this] { ReadApp(); }) {}

TunnelRelay::~TunnelRelay() = default;

Status TunnelRelay::Attach(UniqueFd app, bool connecting) {
  app_ = std::move(app);
  connecting_ = connecting;
  return context_.loop.Watch(app_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, this);
}

void TunnelRelay::BindStream(H2Connection& tunnel, H2Stream& stream) {
  tunnel_ = &tunnel;
  stream_ = &stream;
}

void TunnelRelay::StartRelay() {
  relaying_ = true;
  if (!to_app_.empty()) WritePending();
  if (stream_eof_ && !ended_) EndIfDone();
  if (!ended_) context_.loop.AtEndOfTurn(read_task_);
}

void TunnelRelay::StopRelay(weft_reason reason) {
  if (ended_) return;
  batch_.Flush();
  if (ended_) return;  // the flush ended it
  ended_ = true;
  read_task_.Cancel();
  if (reason == WEFT_R_NONE) {
    app_.Reset();
  } else {
    CloseWithReset(app_);
  }
  DropPending();
  if (H2Stream* stream = std::exchange(stream_, nullptr)) {
    stream->set_handler(nullptr);
    tunnel_->session().Reset(*stream, h2::kCancel);
  }
}

void TunnelRelay::End(weft_reason reason, std::string detail) {
  if (ended_) return;
  StopRelay(reason);
  OnRelayEnd(reason, std::move(detail));
}

// ---- application to tunnel ----------------------------------------------------------------------------------------

void TunnelRelay::OnIo(uint32_t events) {
  if (ended_ || !app_) return;
  if (connecting_) {
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return;
    connecting_ = false;
    if (const int error = TakeSocketError(app_.get()); error != 0) return OnDialFailed(error);
    OnDialed();
    if (ended_) return;
  }
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) app_finished_ = true;
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) app_readable_ = true;
  if (!relaying_) {
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) OnAppGone();
    return;
  }
  if ((events & EPOLLOUT) != 0 && !app_writable_) {
    app_writable_ = true;
    WritePending();
    if (ended_) return;
  }
  ReadApp();
}

void TunnelRelay::ReadApp() {
  if (ended_ || !relaying_ || !app_readable_ || app_eof_ || stream_ == nullptr) return;
  const size_t slice = tunnel_->session().max_send_frame() >= kBigSlice ? kBigSlice : kRecordSlice;
  const size_t budget =
      std::min(tunnel_->session().SendBudget(*stream_), slice * (kReadBytes / (slice + h2::kFrameHeaderBytes)));
  if (budget == 0) return;  // OnStreamWritable follows

  iovec pieces[kReadBytes / kRecordBytes];
  size_t n_pieces = 0;
  uint8_t* at = context_.app.get() + h2::kFrameHeaderBytes;
  for (size_t left = budget; left > 0; ++n_pieces) {
    const size_t length = std::min(left, slice);
    pieces[n_pieces] = {at, length};
    at += length + h2::kFrameHeaderBytes;
    left -= length;
  }
  const ssize_t n = n_pieces == 1 ? recv(app_.get(), pieces[0].iov_base, pieces[0].iov_len, 0)
                                  : readv(app_.get(), pieces, static_cast<int>(n_pieces));
  if (n > 0) {
    from_app_bytes_ += static_cast<uint64_t>(n);
    tunnel_->session().SendData(*stream_, context_.app.get(), slice, static_cast<size_t>(n));
    if (static_cast<size_t>(n) == budget) return context_.loop.NextTurn(read_task_);
    // The end of the stream lies behind it, and shall leave with it.
    if (app_finished_) return ReadApp();
    app_readable_ = false;  // edge-triggered: a short read has emptied the socket
    return;
  }
  if (n == 0) {
    app_eof_ = true;
    tunnel_->session().SendEnd(*stream_);
    if (!ended_) EndIfDone();
    return;
  }
  if (errno == EAGAIN || errno == EINTR) {
    app_readable_ = errno == EINTR;
    return;
  }
  End(WEFT_R_PEER_RESET, std::strerror(errno));
}

void TunnelRelay::OnStreamWritable() { ReadApp(); }

// ---- tunnel to application ----------------------------------------------------------------------------------------

void TunnelRelay::OnStreamData(std::span<const uint8_t> bytes) {
  if (ended_) return;
  to_app_bytes_ += bytes.size();
  if (!relaying_ || !to_app_.empty()) {
    Keep(bytes);
  } else {
    batch_.Add(*this, bytes);
  }
}

void TunnelRelay::Keep(std::span<const uint8_t> bytes) {
  if (ended_) return;
  if (!share_.Take(bytes.size())) return End(WEFT_R_LIMIT_EXCEEDED, "too much waits for the pod's applications");
  to_app_.Append(bytes);
}

void TunnelRelay::DropPending() {
  share_.Give(to_app_.size());
  to_app_.Clear();
}

void TunnelRelay::WritePieces(iovec* pieces, size_t n, bool last) {
  if (ended_) return;
  size_t total = 0;
  for (size_t i = 0; i < n; ++i) total += pieces[i].iov_len;
  ssize_t sent = 0;
  if (app_writable_ && to_app_.empty()) {
    const msghdr message{.msg_name = nullptr,
                         .msg_namelen = 0,
                         .msg_iov = pieces,
                         .msg_iovlen = n,
                         .msg_control = nullptr,
                         .msg_controllen = 0,
                         .msg_flags = 0};
    // The FIN that follows takes the bytes along: one segment and one wake-up of the application instead of two.
    const int flags = last ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL;
    sent =
        n == 1 ? send(app_.get(), pieces[0].iov_base, pieces[0].iov_len, flags) : sendmsg(app_.get(), &message, flags);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return End(WEFT_R_PEER_RESET, std::strerror(errno));
    sent = std::max<ssize_t>(sent, 0);
  }
  auto skip = static_cast<size_t>(sent);
  if (skip < total) {
    app_writable_ = false;
    for (size_t i = 0; i < n; ++i) {
      const size_t from = std::min(skip, pieces[i].iov_len);
      skip -= from;
      Keep({static_cast<uint8_t*>(pieces[i].iov_base) + from, pieces[i].iov_len - from});
    }
  }
  Credit(static_cast<size_t>(sent));
}

void TunnelRelay::WritePending() {
  while (!to_app_.empty()) {
    const ssize_t n = send(app_.get(), to_app_.data(), to_app_.size(), MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return End(WEFT_R_PEER_RESET, std::strerror(errno));
      app_writable_ = false;
      return;
    }
    to_app_.Consume(static_cast<size_t>(n));
    share_.Give(static_cast<size_t>(n));
    Credit(static_cast<size_t>(n));
  }
  EndIfDone();
}

void TunnelRelay::Credit(size_t n) {
  if (stream_ != nullptr && n > 0) tunnel_->session().Consume(*stream_, n);
}

void TunnelRelay::OnStreamEnd() {
  batch_.Flush(this);
  if (ended_) return;
  stream_eof_ = true;
  if (relaying_) EndIfDone();
}

void TunnelRelay::EndIfDone() {
  if (ended_ || !relaying_) return;
  if (stream_eof_ && to_app_.empty() && !shut_) {
    shut_ = true;
    if (!app_eof_) shutdown(app_.get(), SHUT_WR);  // else the close below says it
  }
  if (shut_ && app_eof_) End(WEFT_R_NONE, {});
}

void TunnelRelay::OnStreamClosed(uint32_t code, bool by_peer) {
  batch_.Flush();
  stream_ = nullptr;
  if (ended_) return;
  // NO_ERROR: both sides had ended, or the peer wants no more of our data but its own is complete.
  if (code == h2::kNoError) {
    stream_eof_ = true;
    app_eof_ = true;
    return EndIfDone();
  }
  if (tunnel_->down()) return End(tunnel_->down_reason(), tunnel_->down_detail());
  End(by_peer ? WEFT_R_PEER_RESET : WEFT_R_PROTOCOL_ERROR, "stream reset, HTTP/2 error " + std::to_string(code));
}

}  // namespace weft
