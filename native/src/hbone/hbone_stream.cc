#include "hbone/hbone_stream.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace weft {
namespace {

// Slices of our output: a frame with its header fills a TLS record.
constexpr size_t kSliceBytes = 16 * 1024 - h2::kFrameHeaderBytes;
// Slices that are made at a time, within the loop's scratch.
constexpr size_t kSlices = LoopContext::kAppBytes / (kSliceBytes + h2::kFrameHeaderBytes);

}  // namespace

HboneStream::HboneStream(LoopContext& context, StreamInfo info)
    : context_(context),
      in_(context.buffers),
      out_(context.buffers),
      linger_timer_([this] { Down(StreamEnd::kClosed, {}); }),
      flush_task_([this] { FinishTurn(); }),
      read_task_([this] { Deliver(); }) {
  info_ = std::move(info);
}

HboneStream::~HboneStream() {
  // Only where nobody waited for the end.
  if (H2Stream* stream = Detach()) tunnel_->session().Reset(*stream, h2::kCancel);
}

void HboneStream::Attach(H2Connection& tunnel, H2Stream& stream) {
  tunnel_ = &tunnel;
  stream_ = &stream;
  stream.set_handler(this);
}

H2Stream* HboneStream::Detach() {
  if (stream_ != nullptr) stream_->set_handler(nullptr);
  return std::exchange(stream_, nullptr);
}

Status HboneStream::Begin() {
  begun_ = true;
  if (!in_.empty() || read_end_seen_ || down_) context_.loop.NextTurn(read_task_);
  return Ok{};
}

void HboneStream::SetUp() {
  up_ = true;
  if (stream_ != nullptr) context_.loop.AtEndOfTurn(flush_task_);
}

// ---- reading --------------------------------------------------------------------------------------------------------

void HboneStream::OnStreamData(std::span<const uint8_t> bytes) {
  if (closing_ || handler_ == nullptr) return session().Consume(*stream_, bytes.size());
  if (!begun_ || paused_ || !in_.empty()) return in_.Append(bytes);
  handler_->OnBytes(bytes);
  // The handler may have ended us.
  if (stream_ != nullptr) session().Consume(*stream_, bytes.size());
}

void HboneStream::OnStreamEnd() {
  read_end_seen_ = true;
  if (begun_ && !paused_ && in_.empty()) Deliver();
}

void HboneStream::ResumeReads() {
  if (!std::exchange(paused_, false)) return;
  if (!in_.empty() || read_end_seen_ || down_) context_.loop.NextTurn(read_task_);
}

void HboneStream::Deliver() {
  if (!begun_) return;
  while (!paused_ && !in_.empty() && handler_ != nullptr && !closing_) {
    const size_t n = std::min(in_.size(), LoopContext::kWireBytes);
    handler_->OnBytes(in_.bytes().first(n));
    if (in_.empty()) break;  // ended by the handler
    in_.Consume(n);
    if (stream_ != nullptr) session().Consume(*stream_, n);
  }
  if (paused_ || !in_.empty()) return;
  if (read_end_seen_ && !closing_ && handler_ != nullptr && !std::exchange(read_end_told_, true)) handler_->OnReadEnd();
  if (down_) Report();
}

// ---- writing --------------------------------------------------------------------------------------------------------

void HboneStream::Write(std::span<const uint8_t> bytes) {
  if (down_ || finish_wanted_) return;
  out_.Append(bytes);
  context_.loop.AtEndOfTurn(flush_task_);
}

void HboneStream::WriteSoon() {
  if (!down_) context_.loop.AtEndOfTurn(flush_task_);
}

size_t HboneStream::WriteRoom() const {
  if (out_.size() < kHighWatermark) return kHighWatermark - out_.size();
  blocked_ = true;
  return 0;
}

void HboneStream::OnStreamWritable() { FinishTurn(); }

void HboneStream::Flush() {
  const size_t slice = std::min(kSliceBytes, session().max_send_frame());
  while (may_write() && !out_.empty()) {
    const size_t budget = std::min({session().SendBudget(*stream_), slice * kSlices, out_.size()});
    if (budget == 0) return;  // OnStreamWritable follows
    uint8_t* at = context_.app.get();
    for (size_t done = 0; done < budget; done += slice) {
      const size_t n = std::min(slice, budget - done);
      std::memcpy(at + h2::kFrameHeaderBytes, out_.data() + done, n);
      at += n + h2::kFrameHeaderBytes;
    }
    out_.Consume(budget);
    session().SendData(*stream_, context_.app.get(), slice, budget);
  }
}

void HboneStream::FinishTurn() {
  if (!may_write()) return;
  Flush();
  if (!may_write()) return;
  if (out_.empty() && finish_wanted_ && !std::exchange(finished_, true)) {
    session().SendEnd(*stream_);
    // An orderly end of both ways: what the peer still wants to say is not waited for.
    if (closing_) return Down(StreamEnd::kClosed, {});
  }
  if (!blocked_ || out_.size() > kHighWatermark / 2 || down_ || handler_ == nullptr) return;
  blocked_ = false;
  handler_->OnWritable();
}

void HboneStream::FinishWrites() {
  if (down_ || std::exchange(finish_wanted_, true)) return;
  context_.loop.AtEndOfTurn(flush_task_);
}

// ---- the end --------------------------------------------------------------------------------------------------------

void HboneStream::Close() {
  if (down_ || std::exchange(closing_, true)) return;
  paused_ = false;
  begun_ = true;
  if (!in_.empty() && stream_ != nullptr) session().Consume(*stream_, in_.size());
  in_.Clear();
  finish_wanted_ = true;
  if (!may_write() || finished_) return Down(StreamEnd::kClosed, {});
  context_.loop.Arm(linger_timer_, kLingerMs);
  context_.loop.AtEndOfTurn(flush_task_);
}

void HboneStream::Abort() {
  handler_ = nullptr;
  Down(StreamEnd::kAborted, {});
}

void HboneStream::OnStreamClosed(uint32_t code, bool by_peer) {
  stream_ = nullptr;
  if (closing_ || (code == h2::kNoError && read_end_seen_)) return Down(StreamEnd::kClosed, {});
  if (tunnel_->down()) return Down(StreamEnd::kReset, "tunnel: " + tunnel_->down_detail());
  Down(StreamEnd::kReset, by_peer ? "the peer reset the tunnel's stream" : "the tunnel's stream was reset");
}

void HboneStream::Down(StreamEnd end, std::string detail) {
  if (std::exchange(down_, true)) return;
  end_ = end;
  detail_ = std::move(detail);
  linger_timer_.Disarm();
  flush_task_.Cancel();
  out_.Clear();
  // NO_ERROR after a whole answer: the rest of the question is not needed (RFC 9113 section 8.1).
  if (H2Stream* stream = Detach()) session().Reset(*stream, finished_ ? h2::kNoError : h2::kCancel);
  if (end != StreamEnd::kClosed) {
    // What came before a failure is not worth more than the news of it.
    in_.Clear();
    paused_ = false;
    begun_ = true;
  }
  // In a turn of its own: whoever ends a stream is not called back from within. What was kept back comes first.
  context_.loop.NextTurn(read_task_);
}

void HboneStream::Report() {
  if (handler_ != nullptr) std::exchange(handler_, nullptr)->OnStreamDown(end_, detail_);
}

// ---- server ---------------------------------------------------------------------------------------------------------

HboneServerStream::HboneServerStream(LoopContext& context, H2Connection& tunnel, H2Stream& stream, StreamInfo info)
    : HboneStream(context, std::move(info)) {
  Attach(tunnel, stream);
}

void HboneServerStream::Accept(std::string_view baggage) {
  if (down() || std::exchange(answered_, true)) return;
  const HeaderField fields[] = {{":status", "200"}, {"baggage", baggage}};
  session().Answer(*stream(), std::span(fields, baggage.empty() ? 1 : 2), false);
  SetUp();
}

void HboneServerStream::Refuse(std::string_view status) {
  set_handler(nullptr);
  if (down() || std::exchange(answered_, true)) return;
  H2Stream* const on_wire = Detach();
  const HeaderField field{":status", status};
  const bool peer_done = on_wire->remote_closed();
  session().Answer(*on_wire, {&field, 1}, true);
  // A complete answer to an incomplete request: the rest of it is not wanted.
  if (!peer_done) session().Reset(*on_wire, h2::kNoError);
  Down(StreamEnd::kAborted, {});
}

// ---- client ---------------------------------------------------------------------------------------------------------

HboneClientStream::HboneClientStream(LoopContext& context, StreamInfo info, std::string authority, std::string baggage,
                                     std::string traceparent)
    : HboneStream(context, std::move(info)),
      link_(this),
      authority_(std::move(authority)),
      baggage_(std::move(baggage)),
      traceparent_(std::move(traceparent)) {}

bool HboneClientStream::OpenIn(H2Connection& tunnel) {
  if (down()) return true;
  std::vector<HeaderField> fields{{":method", "CONNECT"}, {":authority", authority_}};
  if (!baggage_.empty()) fields.push_back({"baggage", baggage_});
  if (!traceparent_.empty()) fields.push_back({"traceparent", traceparent_, false});
  H2Stream* const opened = tunnel.session().Open(fields, this);
  if (opened == nullptr) return false;
  Attach(tunnel, *opened);
  info_.tls = true;
  info_.peer_identity = tunnel.tls().peer().ToUri();
  return true;
}

void HboneClientStream::OnStreamHeaders(const HeaderBlock& headers, bool end) {
  if (headers.status != "200" || end) {
    const char* const denied = headers.status == "401" ? ": a policy denies this waypoint" : "";
    return Down(StreamEnd::kRefused, "the destination's agent answered " + headers.status + denied);
  }
  info_.baggage = headers.baggage;
  SetUp();
  if (handler_ != nullptr) handler_->OnStreamUp();
}

}  // namespace weft
