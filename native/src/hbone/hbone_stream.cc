#include "hbone/hbone_stream.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace weft {
namespace {

// Payload of one DATA frame: what a TLS record holds.
constexpr size_t kSliceBytes = 16 * 1024;
// Copied per flush into the loop's scratch block, with room for frame headers between.
constexpr size_t kFlushBytes = 96 * 1024;

}  // namespace

HboneStream::HboneStream(LoopContext& context, StreamInfo info)
    : context_(context),
      out_(context.buffers),
      pending_(context.buffers),
      flush_task_([this] { Flush(); }),
      deliver_task_([this] { Deliver(); }),
      report_task_([this] { Report(); }) {
  info_ = std::move(info);
}

HboneStream::~HboneStream() {
  if (stream_ == nullptr) return;
  stream_->set_handler(nullptr);
  connection_->session().Reset(*stream_, h2::kCancel);
}

void HboneStream::Attach(H2Connection& connection, H2Stream& stream) {
  connection_ = &connection;
  stream_ = &stream;
  stream.set_handler(this);
}

void HboneStream::SetUp() {
  up_ = true;
  ResumeReads();
  if (!out_.empty() || finish_wanted_) WriteSoon();
}

// ---- reading
// ----------------------------------------------------------------------------------------------------------

void HboneStream::OnStreamData(std::span<const uint8_t> bytes) {
  if (down_) return;
  if (paused_ || !up_ || handler_ == nullptr || !pending_.empty()) {
    pending_.Append(bytes);
    return;
  }
  handler_->OnBytes(bytes);
  if (stream_ != nullptr) connection_->session().Consume(*stream_, bytes.size());
}

void HboneStream::OnStreamEnd() {
  read_end_due_ = true;
  if (!paused_ && pending_.empty()) Deliver();
}

void HboneStream::ResumeReads() {
  if (!up_) return;
  paused_ = false;
  if (!pending_.empty() || read_end_due_) context_.loop.NextTurn(deliver_task_);
}

void HboneStream::Deliver() {
  if (down_ || paused_ || handler_ == nullptr) return;
  if (!pending_.empty()) {
    // Out of the way first: whoever takes the bytes may cause more.
    std::vector<uint8_t> bytes(pending_.data(), pending_.data() + pending_.size());
    pending_.Clear();
    handler_->OnBytes(bytes);
    if (stream_ != nullptr) connection_->session().Consume(*stream_, bytes.size());
  }
  if (!read_end_due_ || paused_ || down_ || !pending_.empty()) return;
  read_end_due_ = false;
  handler_->OnReadEnd();
}

// ---- writing
// ----------------------------------------------------------------------------------------------------------

void HboneStream::Write(std::span<const uint8_t> bytes) {
  if (down_ || finish_wanted_) return;
  out_.Append(bytes);
  WriteSoon();
}

void HboneStream::WriteSoon() {
  if (!down_) context_.loop.AtEndOfTurn(flush_task_);
}

size_t HboneStream::WriteRoom() const {
  if (out_.size() < kHighWatermark) return kHighWatermark - out_.size();
  blocked_ = true;
  return 0;
}

void HboneStream::OnStreamWritable() { Flush(); }

void HboneStream::Flush() {
  if (down_ || stream_ == nullptr || !up_) return;
  H2Session& session = connection_->session();
  while (!out_.empty()) {
    const size_t budget = std::min({session.SendBudget(*stream_), out_.size(), kFlushBytes});
    if (budget == 0) break;  // OnStreamWritable follows
    const size_t slice = std::min(session.max_send_frame(), kSliceBytes);
    uint8_t* const frames = context_.app.get();
    uint8_t* at = frames;
    for (size_t copied = 0; copied < budget;) {
      const size_t n = std::min(slice, budget - copied);
      at += h2::kFrameHeaderBytes;
      std::memcpy(at, out_.data() + copied, n);
      at += n;
      copied += n;
    }
    out_.Consume(budget);
    session.SendData(*stream_, frames, slice, budget);
    if (stream_ == nullptr) return;
  }
  if (finish_wanted_ && !finished_ && out_.empty()) {
    finished_ = true;
    session.SendEnd(*stream_);
    if (down_ || stream_ == nullptr) return;
  }
  if (blocked_ && out_.size() <= kHighWatermark / 2 && handler_ != nullptr) {
    blocked_ = false;
    handler_->OnWritable();
  }
}

void HboneStream::FinishWrites() {
  if (down_) return;
  finish_wanted_ = true;
  WriteSoon();
}

// ---- ending
// -----------------------------------------------------------------------------------------------------------

void HboneStream::Close() {
  if (down_) return;
  FinishWrites();
  // What still comes is nobody's any more; the peer's END_STREAM ends the stream, or our reset when it does not come.
  Flush();
  if (!down_) Down(StreamEnd::kClosed, {});
}

void HboneStream::Abort() {
  handler_ = nullptr;
  Down(StreamEnd::kAborted, {});
}

void HboneStream::OnStreamClosed(uint32_t code, bool by_peer) {
  stream_ = nullptr;
  if (code == h2::kNoError) return Down(StreamEnd::kClosed, {});
  Down(StreamEnd::kReset, by_peer ? "the peer reset the tunnel's stream" : "the tunnel ended");
}

void HboneStream::Down(StreamEnd end, std::string detail) {
  if (down_) return;
  // The peer's last bytes are delivered before the end is.
  if (end == StreamEnd::kClosed && stream_ == nullptr && (!pending_.empty() || read_end_due_) && handler_ != nullptr) {
    paused_ = false;
    Deliver();
    if (down_) return;
  }
  down_ = true;
  end_ = end;
  detail_ = std::move(detail);
  flush_task_.Cancel();
  deliver_task_.Cancel();
  if (H2Stream* stream = std::exchange(stream_, nullptr)) {
    stream->set_handler(nullptr);
    // NO_ERROR after a whole answer: the rest of the question is not needed.
    connection_->session().Reset(*stream, finished_ ? h2::kNoError : h2::kCancel);
  }
  out_.Clear();
  pending_.Clear();
  context_.loop.NextTurn(report_task_);
}

void HboneStream::Report() {
  if (handler_ != nullptr) std::exchange(handler_, nullptr)->OnStreamDown(end_, detail_);
}

// ---- server
// -----------------------------------------------------------------------------------------------------------

HboneServerStream::HboneServerStream(LoopContext& context, H2Connection& connection, H2Stream& stream, StreamInfo info)
    : HboneStream(context, std::move(info)) {
  Attach(connection, stream);
}

Status HboneServerStream::Begin() { return Ok{}; }

void HboneServerStream::Accept() {
  if (down() || stream() == nullptr) return;
  const HeaderField status{":status", "200"};
  session().Answer(*stream(), {&status, 1}, false);
  if (stream() != nullptr) SetUp();
}

void HboneServerStream::Refuse(std::string_view status) {
  if (down() || stream() == nullptr) return;
  const HeaderField field{":status", status};
  session().Answer(*stream(), {&field, 1}, true);
  Down(StreamEnd::kAborted, {});
}

// ---- client
// -----------------------------------------------------------------------------------------------------------

HboneClientStream::HboneClientStream(LoopContext& context, StreamInfo info, std::string authority, std::string baggage,
                                     std::string traceparent)
    : HboneStream(context, std::move(info)),
      link_(this),
      authority_(std::move(authority)),
      baggage_(std::move(baggage)),
      traceparent_(std::move(traceparent)) {}

bool HboneClientStream::OpenIn(H2Connection& connection) {
  if (down()) return true;
  std::vector<HeaderField> fields{{":method", "CONNECT"}, {":authority", authority_}};
  if (!baggage_.empty()) fields.push_back({"baggage", baggage_});
  if (!traceparent_.empty()) fields.push_back({"traceparent", traceparent_, false});
  H2Stream* const opened = connection.session().Open(fields, this);
  if (opened == nullptr) return false;
  Attach(connection, *opened);
  info_.tls = true;
  info_.peer_identity = "spiffe://" + connection.tls().peer().principal;
  return true;
}

void HboneClientStream::OnStreamHeaders(const HeaderBlock& headers, bool end) {
  if (headers.status != "200" || end) {
    const bool denied = headers.status == "401";
    return Down(StreamEnd::kRefused, "the agent of the destination answered " + headers.status +
                                         (denied ? ": a policy denies this waypoint" : ""));
  }
  SetUp();
  if (handler_ != nullptr) handler_->OnStreamUp();
}

}  // namespace weft
