#include "hbone/h2_session.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace weft {

using namespace h2;

namespace {

// Streams that a client opens before the peer's SETTINGS have come (ambient peers allow at least 100).
constexpr uint32_t kAssumedPeerStreams = 100;

}  // namespace

H2Session::H2Session(const H2Config& config, Output& output)
    : config_(config),
      output_(output),
      decoder_(config.max_header_list),
      peer_max_streams_(config.server ? 0 : kAssumedPeerStreams),
      recv_window_(kDefaultWindow),
      growth_left_(config.connection_window),
      preface_left_(config.server ? kPrefaceBytes : 0) {}

H2Session::~H2Session() { CloseAll(kInternalError, false); }

void H2Session::Start() {
  if (!config_.server) output_.OnFrames({reinterpret_cast<const uint8_t*>(kPreface), kPrefaceBytes});
  const std::pair<uint16_t, uint32_t> settings[] = {
      {kInitialWindowSize, config_.base_window},
      {kMaxFrameSize, config_.max_frame},
      {kMaxHeaderListSize, config_.max_header_list},
      config_.server ? std::pair<uint16_t, uint32_t>{kMaxConcurrentStreams, config_.max_streams}
                     : std::pair<uint16_t, uint32_t>{kEnablePush, 0},
  };
  uint8_t payload[sizeof settings / sizeof settings[0] * 6];
  uint8_t* at = payload;
  for (const auto& [id, value] : settings) {
    WriteU16(at, id);
    WriteU32(at + 2, value);
    at += 6;
  }
  SendFrame({sizeof payload, kSettings, 0, 0}, payload);
  if (config_.connection_window > kDefaultWindow) {
    SendWindowUpdate(0, config_.connection_window - kDefaultWindow);
    recv_window_ = config_.connection_window;
  }
}

// ---- streams ------------------------------------------------------------------------------------------------------

bool H2Session::CanOpen() const {
  return !config_.server && !failed_ && !peer_going_away_ && streams_.size() < peer_max_streams_ &&
         next_stream_ < kMaxStreamId - 2;
}

H2Stream* H2Session::Open(std::span<const HeaderField> fields, StreamHandler* handler) {
  if (!CanOpen()) return nullptr;
  const uint32_t id = std::exchange(next_stream_, next_stream_ + 2);
  std::unique_ptr<H2Stream> stream(new H2Stream(id));
  stream->handler_ = handler;
  stream->send_window_ = peer_initial_window_;
  stream->recv_window_ = stream->recv_target_ = config_.base_window;
  H2Stream* const raw = stream.get();
  streams_.emplace(id, std::move(stream));
  SendHeaders(id, fields, false);
  return raw;
}

void H2Session::Answer(H2Stream& stream, std::span<const HeaderField> fields, bool end) {
  stream.headers_done_ = true;
  SendHeaders(stream.id_, fields, end);
  if (!end) return;
  stream.local_closed_ = true;
  CloseIfDone(stream);
}

size_t H2Session::SendBudget(H2Stream& stream) {
  const int64_t window = std::min(stream.send_window_, send_window_);
  const size_t room = output_.SendRoom();
  if (window <= 0 || room == 0) {
    blocked_.PushBack(stream.blocked_);
    return 0;
  }
  return std::min(static_cast<size_t>(window), room);
}

void H2Session::SendData(H2Stream& stream, uint8_t* frames, size_t slice, size_t n) {
  uint8_t* at = frames;
  for (size_t left = n; left > 0;) {
    const size_t length = std::min(left, slice);
    WriteFrameHeader(at, {static_cast<uint32_t>(length), kData, 0, stream.id_});
    at += kFrameHeaderBytes + length;
    left -= length;
  }
  stream.send_window_ -= static_cast<int64_t>(n);
  send_window_ -= static_cast<int64_t>(n);
  output_.OnFrames({frames, at});
}

void H2Session::SendEnd(H2Stream& stream) {
  if (stream.local_closed_) return;
  stream.local_closed_ = true;
  SendFrame({0, kData, kEndStream, stream.id_}, {});
  CloseIfDone(stream);
}

void H2Session::Reset(H2Stream& stream, uint32_t code) {
  SendRst(stream.id_, code);
  Close(stream, code, false);
}

void H2Session::Consume(H2Stream& stream, size_t n) {
  stream.unacked_ += static_cast<int64_t>(n);
  if (stream.remote_closed_ || stream.unacked_ < stream.recv_target_ / 2) return;
  int64_t increment = std::exchange(stream.unacked_, 0);
  // All that came has been taken: the application keeps up, so let the peer have more in flight.
  if (stream.recv_window_ + increment == stream.recv_target_) {
    const int64_t growth = std::min({stream.recv_target_, config_.max_window - stream.recv_target_, growth_left_});
    if (growth > 0) {
      stream.recv_target_ += growth;
      growth_left_ -= growth;
      increment += growth;
    }
  }
  stream.recv_window_ += increment;
  SendWindowUpdate(stream.id_, static_cast<uint32_t>(increment));
}

H2Stream* H2Session::Find(uint32_t id) {
  if (last_found_ != nullptr && last_found_->id_ == id) return last_found_;
  const auto found = streams_.find(id);
  if (found == streams_.end()) return nullptr;
  last_found_ = found->second.get();
  return last_found_;
}

bool H2Session::IsIdle(uint32_t id) const {
  if (config_.server) return id % 2 == 1 ? id > last_peer_stream_ : true;
  return id % 2 == 1 ? id >= next_stream_ : true;
}

void H2Session::RemoteEnd(H2Stream& stream) {
  stream.remote_closed_ = true;
  const uint32_t id = stream.id_;
  if (stream.handler_ != nullptr) stream.handler_->OnStreamEnd();
  // The handler may have closed the stream.
  if (H2Stream* still = Find(id)) CloseIfDone(*still);
}

void H2Session::CloseIfDone(H2Stream& stream) {
  if (stream.local_closed_ && stream.remote_closed_) Close(stream, kNoError, false);
}

void H2Session::Close(H2Stream& stream, uint32_t code, bool by_peer) {
  const auto found = streams_.find(stream.id_);
  if (found == streams_.end()) return;
  const std::unique_ptr<H2Stream> owned = std::move(found->second);
  streams_.erase(found);
  last_found_ = nullptr;
  owned->blocked_.Unlink();
  growth_left_ += owned->recv_target_ - config_.base_window;
  if (StreamHandler* handler = std::exchange(owned->handler_, nullptr)) handler->OnStreamClosed(code, by_peer);
  output_.OnCapacityChanged();
}

void H2Session::CloseAll(uint32_t code, bool by_peer) {
  failed_ = true;
  while (!streams_.empty()) Close(*streams_.begin()->second, code, by_peer);
}

void H2Session::ResumeBlocked() {
  if (blocked_.empty() || send_window_ <= 0 || output_.SendRoom() == 0) return;
  IntrusiveList<H2Stream> round;
  blocked_.MoveTo(round);
  while (H2Stream* stream = round.PopFront()) {
    if (stream->send_window_ <= 0) {
      blocked_.PushBack(stream->blocked_);  // its own window opens it again
    } else if (stream->handler_ != nullptr) {
      stream->handler_->OnStreamWritable();
    }
  }
}

void H2Session::StartDrain() {
  if (draining_ || failed_) return;
  draining_ = true;
  SendGoAway(kMaxStreamId, kNoError);
}

void H2Session::FinishDrain() {
  if (!failed_) SendGoAway(last_peer_stream_, kNoError);
}

// ---- frames to the peer -------------------------------------------------------------------------------------------

void H2Session::SendFrame(FrameHeader header, std::span<const uint8_t> payload) {
  uint8_t small[kFrameHeaderBytes + 64];
  if (payload.size() <= 64) {
    WriteFrameHeader(small, header);
    if (!payload.empty()) std::memcpy(small + kFrameHeaderBytes, payload.data(), payload.size());
    output_.OnFrames({small, kFrameHeaderBytes + payload.size()});
    return;
  }
  std::vector<uint8_t> frame(kFrameHeaderBytes + payload.size());
  WriteFrameHeader(frame.data(), header);
  std::memcpy(frame.data() + kFrameHeaderBytes, payload.data(), payload.size());
  output_.OnFrames(frame);
}

void H2Session::SendHeaders(uint32_t stream, std::span<const HeaderField> fields, bool end) {
  const std::vector<uint8_t> block = encoder_.Encode(fields);
  std::span<const uint8_t> rest = block;
  uint8_t type = kHeaders;
  uint8_t flags = end ? kEndStream : 0;
  do {
    const auto piece = rest.first(std::min<size_t>(rest.size(), peer_max_frame_));
    rest = rest.subspan(piece.size());
    if (rest.empty()) flags |= kEndHeaders;
    SendFrame({static_cast<uint32_t>(piece.size()), type, flags, stream}, piece);
    type = kContinuation;
    flags = 0;
  } while (!rest.empty());
}

void H2Session::SendRst(uint32_t stream, uint32_t code) {
  uint8_t payload[4];
  WriteU32(payload, code);
  SendFrame({sizeof payload, kRstStream, 0, stream}, payload);
}

void H2Session::SendWindowUpdate(uint32_t stream, uint32_t increment) {
  uint8_t payload[4];
  WriteU32(payload, increment);
  SendFrame({sizeof payload, kWindowUpdate, 0, stream}, payload);
}

void H2Session::SendPing(uint64_t ping) {
  uint8_t payload[8];
  std::memcpy(payload, &ping, sizeof payload);
  SendFrame({sizeof payload, kPing, 0, 0}, payload);
}

void H2Session::SendGoAway(uint32_t last, uint32_t code) {
  uint8_t payload[8];
  WriteU32(payload, last);
  WriteU32(payload + 4, code);
  SendFrame({sizeof payload, kGoAway, 0, 0}, payload);
}

bool H2Session::Fail(uint32_t code, weft_reason reason, const char* detail) {
  if (!failed_) {
    failed_ = true;
    failure_ = reason;
    failure_detail_ = detail;
    SendGoAway(last_peer_stream_, code);
  }
  return false;
}

}  // namespace weft
