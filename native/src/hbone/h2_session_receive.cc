// The receiving half of H2Session: frames from the peer.
#include <algorithm>
#include <cstring>
#include <utility>

#include "hbone/h2_session.h"

namespace weft {

using namespace h2;

namespace {

constexpr uint32_t kMaxHeaderTable = 4096;  // what we let the peer make our encoder use

// Strips padding of a HEADERS or DATA payload.
bool Unpad(std::span<const uint8_t>& payload, uint8_t flags) {
  if ((flags & kPadded) == 0) return true;
  if (payload.empty() || payload[0] >= payload.size()) return false;
  payload = payload.subspan(1, payload.size() - 1 - payload[0]);
  return true;
}

}  // namespace

bool H2Session::Receive(std::span<const uint8_t> bytes, uint64_t now_ms) {
  now_ms_ = now_ms;
  while (!bytes.empty() && !failed_) {
    if (preface_left_ > 0) {
      const size_t n = std::min(preface_left_, bytes.size());
      if (std::memcmp(bytes.data(), kPreface + kPrefaceBytes - preface_left_, n) != 0) {
        return Fail(kProtocolError, WEFT_R_H2_FAILURE, "peer sent no HTTP/2 preface");
      }
      preface_left_ -= n;
      bytes = bytes.subspan(n);
      continue;
    }
    if (header_have_ < kFrameHeaderBytes) {
      const size_t n = std::min(kFrameHeaderBytes - header_have_, bytes.size());
      std::memcpy(header_bytes_ + header_have_, bytes.data(), n);
      header_have_ += n;
      bytes = bytes.subspan(n);
      if (header_have_ < kFrameHeaderBytes) break;
      frame_ = ReadFrameHeader(header_bytes_);
      payload_left_ = frame_.length;
      if (!CheckHeader()) return false;
      if (frame_.type == kData && !BeginData()) return false;
    }
    const auto piece = bytes.first(std::min<size_t>(payload_left_, bytes.size()));
    bytes = bytes.subspan(piece.size());
    payload_left_ -= static_cast<uint32_t>(piece.size());
    if (frame_.type == kData) {
      TakeData(piece);
      if (payload_left_ > 0) continue;
      header_have_ = 0;
      if (!EndData()) return false;
      continue;
    }
    if (skip_payload_) {
      if (payload_left_ == 0) header_have_ = 0;
      continue;
    }
    if (payload_left_ > 0 || !payload_.empty()) {
      payload_.insert(payload_.end(), piece.begin(), piece.end());
      if (payload_left_ > 0) break;
    }
    header_have_ = 0;
    const bool ok = OnFrame(payload_.empty() ? piece : std::span<const uint8_t>(payload_));
    payload_ = {};
    if (!ok) return false;
  }
  return !failed_;
}

bool H2Session::CheckHeader() {
  skip_payload_ = false;
  if (!settings_seen_ && (frame_.type != kSettings || (frame_.flags & kAck) != 0)) {
    return Fail(kProtocolError, WEFT_R_H2_FAILURE, "first frame is not SETTINGS");
  }
  if (frame_.length > config_.max_frame) return Fail(kFrameSizeError, WEFT_R_PROTOCOL_ERROR, "frame too large");
  if (block_stream_ != 0 && (frame_.type != kContinuation || frame_.stream != block_stream_)) {
    return Fail(kProtocolError, WEFT_R_PROTOCOL_ERROR, "header block interrupted");
  }
  uint32_t limit = config_.max_frame;
  switch (frame_.type) {
    case kHeaders:
    case kContinuation:
      limit = H2Abuse::kMaxHeaderBlock;
      break;
    case kSettings:
      limit = H2Abuse::kMaxSettingsPerFrame * 6;
      break;
    case kGoAway:
      limit = H2Abuse::kMaxGoAway;
      break;
    case kPushPromise:
      return Fail(kProtocolError, WEFT_R_PROTOCOL_ERROR, "PUSH_PROMISE");
    case kData:
    case kPriority:
    case kRstStream:
    case kPing:
    case kWindowUpdate:
      break;
    default:
      skip_payload_ = true;
      return SpendControl();
  }
  if (frame_.type != kData && frame_.type != kHeaders && frame_.type != kContinuation && frame_.type != kSettings &&
      frame_.type != kGoAway && frame_.length > 8) {
    return Fail(kFrameSizeError, WEFT_R_PROTOCOL_ERROR, "frame of wrong size");
  }
  if (frame_.length > limit) return Fail(kEnhanceYourCalm, WEFT_R_LIMIT_EXCEEDED, "oversized control frame");
  return true;
}

bool H2Session::OnFrame(std::span<const uint8_t> payload) {
  switch (frame_.type) {
    case kHeaders:
      return OnHeaders(payload);
    case kContinuation:
      if (block_stream_ == 0) return Fail(kProtocolError, WEFT_R_PROTOCOL_ERROR, "CONTINUATION without HEADERS");
      return OnHeaderFragment(payload, (frame_.flags & kEndHeaders) != 0);
    case kPriority:
      return SpendControl();
    case kRstStream:
      return OnRstStream(payload);
    case kSettings:
      return OnSettings(payload);
    case kPing:
      return OnPing(payload);
    case kGoAway:
      return OnGoAway(payload);
    default:
      return OnWindowUpdate(payload);
  }
}

// ---- DATA ---------------------------------------------------------------------------------------------------------

bool H2Session::BeginData() {
  if (frame_.stream == 0 || IsIdle(frame_.stream)) {
    return Fail(kProtocolError, WEFT_R_PROTOCOL_ERROR, "DATA on an idle stream");
  }
  recv_window_ -= frame_.length;
  if (recv_window_ < 0) return Fail(kFlowControlError, WEFT_R_PROTOCOL_ERROR, "connection window exceeded");
  // Credited on receipt: see H2Config.
  unacked_ += frame_.length;
  if (unacked_ >= config_.connection_window / 4) {
    const auto increment = static_cast<uint32_t>(std::exchange(unacked_, 0));
    recv_window_ += increment;
    SendWindowUpdate(0, increment);
  }
  padding_left_ = 0;
  pad_length_due_ = (frame_.flags & kPadded) != 0;
  if (pad_length_due_ && frame_.length == 0)
    return Fail(kFrameSizeError, WEFT_R_PROTOCOL_ERROR, "DATA without padding length");
  if (frame_.length == 0 && (frame_.flags & kEndStream) == 0 && !SpendControl()) return false;

  // A stream that was reset a moment ago may still get data that was on its way; it is dropped.
  H2Stream* stream = Find(frame_.stream);
  if (stream == nullptr) return true;
  if (stream->remote_closed_) return Violation(*stream, kStreamClosed);
  // A server's data before its answer belongs to nobody.
  if (!config_.server && !stream->headers_done_) return Violation(*stream, kProtocolError);
  stream->recv_window_ -= frame_.length;
  if (stream->recv_window_ < 0) return Violation(*stream, kFlowControlError);
  return true;
}

void H2Session::TakeData(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return;
  H2Stream* stream = Find(frame_.stream);
  size_t overhead = 0;
  if (pad_length_due_) {
    pad_length_due_ = false;
    padding_left_ = bytes[0];
    bytes = bytes.subspan(1);
    overhead = 1;
  }
  // What of this piece lies in the padding at the end of the frame.
  const size_t padding =
      payload_left_ >= padding_left_ ? 0 : std::min<size_t>(bytes.size(), padding_left_ - payload_left_);
  overhead += padding;
  bytes = bytes.first(bytes.size() - padding);
  if (stream == nullptr) return;
  if (overhead > 0) Consume(*stream, overhead);
  if (!bytes.empty() && stream->handler_ != nullptr) stream->handler_->OnStreamData(bytes);
}

bool H2Session::EndData() {
  if (failed_) return false;
  if (padding_left_ > 0 && padding_left_ >= frame_.length) {
    return Fail(kProtocolError, WEFT_R_PROTOCOL_ERROR, "padding longer than its frame");
  }
  if ((frame_.flags & kEndStream) == 0) return true;
  if (H2Stream* stream = Find(frame_.stream); stream != nullptr && !stream->remote_closed_) RemoteEnd(*stream);
  return !failed_;
}

// ---- HEADERS ------------------------------------------------------------------------------------------------------

bool H2Session::OnHeaders(std::span<const uint8_t> payload) {
  if (frame_.stream % 2 == 0) return Fail(kProtocolError, WEFT_R_PROTOCOL_ERROR, "HEADERS on a wrong stream");
  if (!Unpad(payload, frame_.flags)) return Fail(kProtocolError, WEFT_R_PROTOCOL_ERROR, "bad padding");
  if ((frame_.flags & kPriorityFlag) != 0) {
    if (payload.size() < 5) return Fail(kFrameSizeError, WEFT_R_PROTOCOL_ERROR, "HEADERS too short");
    payload = payload.subspan(5);
  }
  block_stream_ = frame_.stream;
  block_flags_ = frame_.flags;
  block_frames_ = 0;
  block_bytes_ = 0;
  return OnHeaderFragment(payload, (frame_.flags & kEndHeaders) != 0);
}

bool H2Session::OnHeaderFragment(std::span<const uint8_t> fragment, bool last) {
  block_bytes_ += static_cast<uint32_t>(fragment.size());
  if (++block_frames_ > H2Abuse::kMaxContinuations || block_bytes_ > H2Abuse::kMaxHeaderBlock) {
    return Fail(kEnhanceYourCalm, WEFT_R_LIMIT_EXCEEDED, "header block too large");
  }
  switch (decoder_.Decode(fragment, last)) {
    case HpackDecoder::Outcome::kOk:
      break;
    case HpackDecoder::Outcome::kMalformedCompression:
      return Fail(kCompressionError, WEFT_R_PROTOCOL_ERROR, "bad HPACK");
    case HpackDecoder::Outcome::kTooLarge:
      return Fail(kEnhanceYourCalm, WEFT_R_LIMIT_EXCEEDED, "header list too large");
  }
  return !last || OnHeadersDone();
}

bool H2Session::OnHeadersDone() {
  const uint32_t id = std::exchange(block_stream_, 0);
  const bool end = (block_flags_ & kEndStream) != 0;
  HeaderBlock headers = decoder_.Take();
  H2Stream* stream = Find(id);
  if (!config_.server) {
    if (IsIdle(id)) return Fail(kProtocolError, WEFT_R_PROTOCOL_ERROR, "HEADERS on an idle stream");
    return stream == nullptr || OnClientHeaders(*stream, std::move(headers), end);
  }
  if (!IsIdle(id)) {
    // Trailers, or a stream that is gone.
    if (stream == nullptr) return true;
    if (stream->remote_closed_ || !end) return Violation(*stream, kProtocolError);
    RemoteEnd(*stream);
    return !failed_;
  }
  last_peer_stream_ = id;
  if (streams_.size() >= config_.max_streams) {
    SendRst(id, kRefusedStream);
    return SpendReset();
  }
  // The user of the session refuses it and says who sent it; a peer that keeps on is cut off here.
  if (headers.malformed && !SpendReset()) return false;
  std::unique_ptr<H2Stream> made(new H2Stream(id));
  made->send_window_ = peer_initial_window_;
  made->recv_window_ = made->recv_target_ = config_.base_window;
  stream = made.get();
  streams_.emplace(id, std::move(made));
  output_.OnRequest(*stream, std::move(headers), end);
  if (end) {
    if (H2Stream* still = Find(id)) RemoteEnd(*still);
  }
  return !failed_;
}

bool H2Session::OnClientHeaders(H2Stream& stream, HeaderBlock headers, bool end) {
  if (headers.malformed || stream.remote_closed_) return Violation(stream, kProtocolError);
  if (stream.headers_done_) {
    if (!end) return Violation(stream, kProtocolError);
    RemoteEnd(stream);
    return !failed_;
  }
  if (headers.status.size() != 3) return Violation(stream, kProtocolError);
  if (headers.status[0] == '1' && !end) return SpendControl();  // informational: the answer is still to come
  stream.headers_done_ = true;
  const uint32_t id = stream.id_;
  if (stream.handler_ != nullptr) stream.handler_->OnStreamHeaders(headers, end);
  if (end) {
    if (H2Stream* still = Find(id)) RemoteEnd(*still);
  }
  return !failed_;
}

// ---- other frames -------------------------------------------------------------------------------------------------

bool H2Session::OnRstStream(std::span<const uint8_t> payload) {
  if (payload.size() != 4) return Fail(kFrameSizeError, WEFT_R_PROTOCOL_ERROR, "RST_STREAM of wrong size");
  if (frame_.stream == 0 || IsIdle(frame_.stream)) {
    return Fail(kProtocolError, WEFT_R_PROTOCOL_ERROR, "RST_STREAM on an idle stream");
  }
  H2Stream* stream = Find(frame_.stream);
  if (stream == nullptr) return true;
  const bool early = config_.server && !stream->headers_done_;
  Close(*stream, ReadU32(payload.data()), true);
  return !early || SpendReset();
}

bool H2Session::OnSettings(std::span<const uint8_t> payload) {
  if (frame_.stream != 0 || payload.size() % 6 != 0) {
    return Fail(kFrameSizeError, WEFT_R_PROTOCOL_ERROR, "malformed SETTINGS");
  }
  if ((frame_.flags & kAck) != 0) {
    if (!payload.empty()) return Fail(kFrameSizeError, WEFT_R_PROTOCOL_ERROR, "SETTINGS ack with payload");
    return SpendControl();
  }
  const bool first = !std::exchange(settings_seen_, true);
  if (!SpendControl()) return false;
  for (size_t i = 0; i < payload.size(); i += 6) {
    const auto id = static_cast<uint16_t>(ReadU16(payload.data() + i));
    if (!ApplySetting(id, ReadU32(payload.data() + i + 2))) return false;
  }
  SendFrame({0, kSettings, kAck, 0}, {});
  if (first) output_.OnCapacityChanged();
  return true;
}

bool H2Session::ApplySetting(uint16_t id, uint32_t value) {
  switch (id) {
    case kHeaderTableSize:
      encoder_.SetTableSize(std::min(value, kMaxHeaderTable));
      return true;
    case kEnablePush:
      if (value > 1) return Fail(kProtocolError, WEFT_R_PROTOCOL_ERROR, "bad ENABLE_PUSH");
      return true;
    case kMaxConcurrentStreams:
      peer_max_streams_ = value;
      return true;
    case kMaxFrameSize:
      if (value < kMinMaxFrame || value > kMaxMaxFrame) {
        return Fail(kProtocolError, WEFT_R_PROTOCOL_ERROR, "bad MAX_FRAME_SIZE");
      }
      peer_max_frame_ = value;
      return true;
    case kInitialWindowSize: {
      if (value > kMaxWindow) return Fail(kFlowControlError, WEFT_R_PROTOCOL_ERROR, "bad INITIAL_WINDOW_SIZE");
      const int64_t delta = static_cast<int64_t>(value) - peer_initial_window_;
      peer_initial_window_ = value;
      for (const auto& [_, stream] : streams_) {
        stream->send_window_ += delta;
        if (stream->send_window_ > kMaxWindow) {
          return Fail(kFlowControlError, WEFT_R_PROTOCOL_ERROR, "stream window overflow");
        }
      }
      return true;
    }
    default:
      return true;
  }
}

bool H2Session::OnPing(std::span<const uint8_t> payload) {
  if (frame_.stream != 0 || payload.size() != 8) return Fail(kFrameSizeError, WEFT_R_PROTOCOL_ERROR, "malformed PING");
  if (!SpendControl()) return false;
  if ((frame_.flags & kAck) == 0) {
    SendFrame({8, kPing, kAck, 0}, payload);
    return true;
  }
  uint64_t ping = 0;
  std::memcpy(&ping, payload.data(), sizeof ping);
  output_.OnPingAck(ping);
  return true;
}

bool H2Session::OnGoAway(std::span<const uint8_t> payload) {
  if (frame_.stream != 0 || payload.size() < 8) return Fail(kFrameSizeError, WEFT_R_PROTOCOL_ERROR, "malformed GOAWAY");
  if (!SpendControl()) return false;
  const uint32_t last = ReadU32(payload.data()) & kMaxStreamId;
  peer_going_away_ = true;
  if (!config_.server) {
    std::vector<uint32_t> refused;
    for (const auto& [id, stream] : streams_) {
      if (id > last) refused.push_back(id);
    }
    for (const uint32_t id : refused) {
      // A handler may have closed others.
      if (H2Stream* stream = Find(id)) Close(*stream, kRefusedStream, true);
    }
  }
  output_.OnCapacityChanged();
  return true;
}

bool H2Session::OnWindowUpdate(std::span<const uint8_t> payload) {
  if (payload.size() != 4) return Fail(kFrameSizeError, WEFT_R_PROTOCOL_ERROR, "WINDOW_UPDATE of wrong size");
  const uint32_t increment = ReadU32(payload.data()) & kMaxWindow;
  if (frame_.stream == 0) {
    if (increment == 0) return Fail(kProtocolError, WEFT_R_PROTOCOL_ERROR, "WINDOW_UPDATE of 0");
    send_window_ += increment;
    if (send_window_ > kMaxWindow) return Fail(kFlowControlError, WEFT_R_PROTOCOL_ERROR, "connection window overflow");
    return true;
  }
  if (IsIdle(frame_.stream)) return Fail(kProtocolError, WEFT_R_PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream");
  H2Stream* stream = Find(frame_.stream);
  if (stream == nullptr) return true;
  if (increment == 0) return Violation(*stream, kProtocolError);
  stream->send_window_ += increment;
  if (stream->send_window_ > kMaxWindow) return Violation(*stream, kFlowControlError);
  return true;
}

// ---- budgets ------------------------------------------------------------------------------------------------------

bool H2Session::SpendControl() {
  if (control_.Take(now_ms_)) return true;
  return Fail(kEnhanceYourCalm, WEFT_R_LIMIT_EXCEEDED, "too many control frames");
}

bool H2Session::SpendReset() {
  if (resets_.Take(now_ms_)) return true;
  return Fail(kEnhanceYourCalm, WEFT_R_LIMIT_EXCEEDED, "too many reset streams");
}

bool H2Session::Violation(H2Stream& stream, uint32_t code) {
  Reset(stream, code);
  return SpendReset();
}

}  // namespace weft
