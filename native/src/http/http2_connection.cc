#include "http/http2_connection.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace weft::http {
namespace {

// Frames of one header block; 60 KiB of fields need 4 (CVE-2024-27919).
constexpr size_t kMaxContinuations = 8;
// Before the peer's SETTINGS say how many streams it takes, as RFC 9113 section 6.5.2 recommends to allow.
constexpr uint32_t kAssumedStreams = 100;

std::string_view Text(const uint8_t* bytes, size_t n) { return {reinterpret_cast<const char*>(bytes), n}; }

}  // namespace

void AddField(std::vector<nghttp2_nv>& fields, std::string_view name, std::string_view value) {
  fields.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                    reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                    NGHTTP2_NV_FLAG_NONE});
}

void AddFields(std::vector<nghttp2_nv>& fields, const HeaderMap& headers) {
  for (const Header& each : headers) {
    switch (each.id) {
      case HeaderId::kConnection:
      case HeaderId::kKeepAlive:
      case HeaderId::kProxyConnection:
      case HeaderId::kTransferEncoding:
      case HeaderId::kUpgrade:
      case HeaderId::kHost:
        continue;
      default:
        AddField(fields, each.name, each.value);
    }
  }
}

StreamError ErrorOf(uint32_t code) {
  switch (code) {
    case NGHTTP2_NO_ERROR:
      return StreamError::kNone;
    case NGHTTP2_REFUSED_STREAM:
      return StreamError::kRefused;
    case NGHTTP2_PROTOCOL_ERROR:
      return StreamError::kProtocol;
    default:
      return StreamError::kReset;
  }
}

uint32_t CodeOf(StreamError error) {
  switch (error) {
    case StreamError::kNone:
      return NGHTTP2_NO_ERROR;
    case StreamError::kRefused:
      return NGHTTP2_REFUSED_STREAM;
    case StreamError::kProtocol:
      return NGHTTP2_PROTOCOL_ERROR;
    case StreamError::kLimit:
      return NGHTTP2_ENHANCE_YOUR_CALM;
    case StreamError::kConnectionClosed:
    case StreamError::kReset:
      return NGHTTP2_INTERNAL_ERROR;
    default:
      return NGHTTP2_CANCEL;
  }
}

// ---- stream
// -----------------------------------------------------------------------------------------------------------

void Http2Stream::Append(std::span<const uint8_t> bytes, bool end) {
  if (local_end_ || id_ < 0) return;
  out_.Append(bytes);
  local_end_ = end;
  if (deferred_) {
    deferred_ = false;
    nghttp2_session_resume_data(connection_.session(), id_);
  }
  connection_.FlushSoon();
}

void Http2Stream::AppendTrailers(const HeaderMap& trailers) {
  for (const Header& each : trailers) AddField(trailers_, arena_.Copy(each.name), arena_.Copy(each.value));
  Append({}, true);
}

size_t Http2Stream::Room() const {
  if (out_.size() < kHighWatermark) return kHighWatermark - out_.size();
  blocked_ = true;
  return 0;
}

void Http2Stream::Resume() {
  paused_ = false;
  if (unconsumed_ > 0) connection_.Consume(*this, std::exchange(unconsumed_, 0));
}

// ---- connection
// -------------------------------------------------------------------------------------------------------

Http2Connection::Http2Connection(LoopContext& context, std::unique_ptr<ByteStream> stream, bool server)
    : context_(context),
      stream_(std::move(stream)),
      server_(server),
      scan_(server ? h2::kPrefaceBytes : 0),
      first_task_([this] { OnBytes({}); }),
      flush_task_([this] { Flush(); }),
      ended_task_([this] { OnEnded(StreamEnd::kAborted, {}); }) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, OnBeginHeaders);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
  nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, OnBeginFrame);
  nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, OnInvalidFrame);
  nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, OnInvalidField);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
  if (server) nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, OnFrameSent);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnClose);
  nghttp2_option* option = nullptr;
  nghttp2_option_new(&option);
  nghttp2_option_set_no_auto_window_update(option, 1);
  // Closed streams are remembered for priorities only, which are no more (RFC 9113 section 5.3).
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_option_set_peer_max_concurrent_streams(option, kAssumedStreams);
  if (server) {
    nghttp2_session_server_new2(&session_, callbacks, this, option);
  } else {
    nghttp2_session_client_new2(&session_, callbacks, this, option);
  }
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  stream_->set_handler(this);
}

Http2Connection::~Http2Connection() { nghttp2_session_del(session_); }

void Http2Connection::Start(const Limits& limits, std::span<const uint8_t> first) {
  limits_ = limits;
  active_ms_ = context_.loop.now_ms();
  first_.assign(first.begin(), first.end());
  if (!first_.empty()) context_.loop.NextTurn(first_task_);
  std::vector<nghttp2_settings_entry> settings{{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.stream_window},
                                               {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.max_header_bytes}};
  if (server_) {
    settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.max_streams});
    settings.push_back({NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1});
  } else {
    settings.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
  }
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, static_cast<int32_t>(limits.connection_window));
  FlushSoon();
}

Http2Stream* Http2Connection::Find(int32_t id) const {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second.get();
}

Http2Stream& Http2Connection::Adopt(std::unique_ptr<Http2Stream> stream, int32_t id) {
  stream->id_ = id;
  Http2Stream& adopted = *stream;
  streams_[id] = std::move(stream);
  return adopted;
}

void Http2Connection::OnBytes(std::span<const uint8_t> bytes) {
  // The socket may have more before the turn of what was read first.
  if (!first_.empty()) Feed(std::exchange(first_, {}));
  if (!bytes.empty()) Feed(bytes);
}

void Http2Connection::Feed(std::span<const uint8_t> bytes) {
  std::span<const uint8_t> rest = bytes;
  bool behind_reset = false;
  while (const std::optional<FrameHead> head = scan_.Next(rest)) {
    size_t at = bytes.size() - rest.size();
    at -= std::min(at, h2::kFrameHeaderBytes);
    // What may come on a stream is different behind its end, so nghttp2 is to take that first.
    if (behind_reset) {
      if (!Give(bytes.first(at))) return;
      bytes = bytes.subspan(std::exchange(at, 0));
    }
    if (const std::optional<Fault> fault = FaultOf(*head)) {
      if (Give(bytes.first(at))) Break(fault->detail, fault->code);
      return;
    }
    behind_reset = head->type == h2::kRstStream;
  }
  Give(bytes);
}

bool Http2Connection::Give(std::span<const uint8_t> bytes) {
  if (ended_ || closing_ || broken_) return false;
  const ssize_t n = nghttp2_session_mem_recv(session_, bytes.data(), bytes.size());
  if (n < 0) Break(nghttp2_strerror(static_cast<int>(n)), NGHTTP2_PROTOCOL_ERROR);
  FlushSoon();
  return !ended_ && !broken_;
}

void Http2Connection::OnReadEnd() {
  if (ended_) return;
  // A peer that sends no more opens nothing more; HTTP/2 has no half-closed connections.
  closing_ = true;
  CloseAll(StreamError::kConnectionClosed);
  stream_->Close();
}

void Http2Connection::OnStreamDown(StreamEnd end, std::string_view detail) {
  if (ended_) return;
  ended_ = true;
  first_task_.Cancel();
  flush_task_.Cancel();
  CloseAll(StreamError::kConnectionClosed);
  OnEnded(end, detail);
}

void Http2Connection::EndNow() {
  if (ended_) return;
  ended_ = true;
  first_task_.Cancel();
  flush_task_.Cancel();
  stream_->Abort();
  CloseAll(StreamError::kLocal);
  context_.loop.NextTurn(ended_task_);
}

void Http2Connection::CloseAll(StreamError error) {
  std::unordered_map<int32_t, std::unique_ptr<Http2Stream>> closing;
  closing.swap(streams_);
  writable_.clear();
  for (auto& [_, stream] : closing) {
    stream->id_ = -1;
    if (!stream->handler_gone_) stream->OnClosed(error);
    context_.loop.Retire(std::move(stream));
  }
}

void Http2Connection::BeginDrain() {
  if (draining_ || ended_) return;
  draining_ = true;
  // A client that has said nothing yet has nothing under way.
  if (!server_ || !settings_seen_) return FinishDrain();
  // What it sends before it hears of this is still served: the last word follows the answer to a PING behind it.
  nghttp2_submit_shutdown_notice(session_);
  FlushSoon();
}

void Http2Connection::FinishDrain() {
  if (ended_ || std::exchange(drained_, true)) return;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  FlushSoon();
}

void Http2Connection::FlushSoon() {
  if (!ended_) context_.loop.AtEndOfTurn(flush_task_);
}

void Http2Connection::Flush() {
  if (ended_ || !WriteOut()) return;
  if (!resets_due_.empty()) {
    for (const DueReset& each : std::exchange(resets_due_, {})) {
      if (Find(each.id) != nullptr) nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, each.id, each.code);
    }
    if (!WriteOut()) return;
  }
  stream_->WriteSoon();
  std::vector<Http2Stream*> writable;
  writable.swap(writable_);
  for (Http2Stream* each : writable) {
    // It may have gone while another was told.
    const bool there = std::ranges::any_of(streams_, [&](const auto& entry) { return entry.second.get() == each; });
    if (!there) continue;
    each->writable_due_ = false;
    if (!each->handler_gone_) each->OnWritable();
    if (ended_) return;
  }
  MaybeFinish();
}

bool Http2Connection::WriteOut() {
  while (stream_->WriteRoom() > 0) {
    const uint8_t* bytes = nullptr;
    const ssize_t n = nghttp2_session_mem_send(session_, &bytes);
    if (n < 0) {
      EndNow();
      return false;
    }
    if (n == 0) break;
    stream_->out().Append({bytes, static_cast<size_t>(n)});
  }
  return true;
}

void Http2Connection::MaybeFinish() {
  if (ended_ || closing_) return;
  const bool over = !nghttp2_session_want_read(session_) && !nghttp2_session_want_write(session_);
  if (!over && !((peer_goes_ || drained_) && streams_.empty())) return;
  closing_ = true;
  CloseAll(StreamError::kProtocol);
  stream_->Close();
}

void Http2Connection::Consume(Http2Stream& stream, size_t n) {
  if (ended_ || stream.id_ < 0) return;
  nghttp2_session_consume_stream(session_, stream.id_, n);
  FlushSoon();
}

void Http2Connection::WritableLater(Http2Stream& stream) {
  if (stream.writable_due_) return;
  stream.writable_due_ = true;
  writable_.push_back(&stream);
}

void Http2Connection::ResetStream(Http2Stream& stream, uint32_t code) {
  stream.handler_gone_ = true;
  if (stream.id_ < 0 || ended_) return;
  if (server_) {
    resets_due_.push_back({stream.id_, code});
  } else {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id_, code);
  }
  FlushSoon();
}

nghttp2_data_provider Http2Connection::ProviderOf(Http2Stream& stream) {
  nghttp2_data_provider provider{};
  provider.source.ptr = &stream;
  provider.read_callback = ReadBody;
  return provider;
}

void Http2Connection::Break(std::string_view detail, uint32_t code) {
  if (ended_ || std::exchange(broken_, true)) return;
  OnBroken(detail);
  nghttp2_session_terminate_session(session_, code);
  FlushSoon();
}

uint64_t Http2Connection::OwedSinceMs() const {
  if (block_begun_ms_ != 0) return block_begun_ms_;
  return settings_seen_ ? 0 : active_ms_;
}

// Before nghttp2 takes the frame.
std::optional<Http2Connection::Fault> Http2Connection::FaultOf(const FrameHead& head) {
  const bool block_ends = (head.flags & h2::kEndHeaders) != 0;
  switch (head.type) {
    case h2::kHeaders:
      continuations_ = 0;
      block_begun_ms_ = block_ends ? 0 : context_.loop.now_ms();
      return {};
    case h2::kContinuation:
      if (block_ends) block_begun_ms_ = 0;
      if (++continuations_ <= kMaxContinuations) return {};
      return Fault{"a header block of too many frames", NGHTTP2_ENHANCE_YOUR_CALM};
    case h2::kData:
      if (head.length == 0 && (head.flags & h2::kEndStream) == 0) return Spend(control_);
      return FaultOnClosed(static_cast<int32_t>(head.stream), head.type);
    case h2::kPriority:
      if (head.stream == 0) return Fault{"PRIORITY of no stream", NGHTTP2_PROTOCOL_ERROR};
      // RFC 7540 section 5.3.1; the newer RFC 9113 knows no dependencies, and nobody has a use for this one.
      if (head.dependency == head.stream) return Fault{"a stream that depends on itself", NGHTTP2_PROTOCOL_ERROR};
      return Spend(control_);
    case h2::kRstStream:
      if (server_) return Spend(resets_);
      // A server that resets what we have asked for costs us nothing that asking did not.
      return Find(static_cast<int32_t>(head.stream)) != nullptr ? std::nullopt : Spend(control_);
    case h2::kWindowUpdate:
      return {};
    default:
      return Spend(control_);
  }
}

std::optional<Http2Connection::Fault> Http2Connection::FaultOnClosed(int32_t id, uint8_t type) const {
  if (!server_ || id > last_opened_ || Find(id) != nullptr) return {};
  switch (closed_.Of(id)) {
    case ClosedStreams::Kind::kByPeer:
      return Fault{"a frame on a stream that its sender had ended", NGHTTP2_STREAM_CLOSED};
    case ClosedStreams::Kind::kNeverOpened:
      if (type == h2::kData) return {};
      return Fault{"a stream below one that is open already", NGHTTP2_PROTOCOL_ERROR};
    default:
      return {};
  }
}

std::optional<Http2Connection::Fault> Http2Connection::Spend(TokenBucket& bucket) {
  if (bucket.Take(context_.loop.now_ms())) return {};
  return Fault{"too many frames that do nothing", NGHTTP2_ENHANCE_YOUR_CALM};
}

// ---- nghttp2's calls
// --------------------------------------------------------------------------------------------------

int Http2Connection::OnBeginFrame(nghttp2_session*, const nghttp2_frame_hd* header, void* self) {
  auto& connection = *static_cast<Http2Connection*>(self);
  // Whoever took a request of this very read may have ended the connection.
  if (connection.ended_ || connection.broken_) return NGHTTP2_ERR_CALLBACK_FAILURE;
  if (header->type != NGHTTP2_HEADERS) return 0;
  // Here and not before the read: the streams that frames before this one opened are known by now.
  const std::optional<Fault> fault = connection.FaultOnClosed(header->stream_id, header->type);
  if (!fault) return 0;
  connection.Break(fault->detail, fault->code);
  return NGHTTP2_ERR_CALLBACK_FAILURE;
}

int Http2Connection::OnInvalidFrame(nghttp2_session*, const nghttp2_frame*, int, void* self) {
  auto& connection = *static_cast<Http2Connection*>(self);
  // What makes us reset a stream costs as much as a reset of the peer's (CVE-2025-8671).
  const std::optional<Fault> fault = connection.Spend(connection.resets_);
  if (!fault) return 0;
  connection.Break(fault->detail, fault->code);
  return NGHTTP2_ERR_CALLBACK_FAILURE;
}

// A field that is none makes its message none (RFC 9113 section 8.2.1); nghttp2 alone would only leave the field out.
int Http2Connection::OnInvalidField(nghttp2_session*, const nghttp2_frame*, const uint8_t*, size_t, const uint8_t*,
                                    size_t, uint8_t, void*) {
  return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

int Http2Connection::OnBeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* self) {
  auto& connection = *static_cast<Http2Connection*>(self);
  if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
    connection.active_ms_ = connection.context_.loop.now_ms();
    connection.last_opened_ = frame->hd.stream_id;
    connection.Adopt(connection.NewPeerStream(), frame->hd.stream_id);
  }
  if (Http2Stream* stream = connection.Find(frame->hd.stream_id)) stream->header_bytes_ = 0;
  return 0;
}

int Http2Connection::OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_bytes,
                              const uint8_t* value, size_t value_bytes, uint8_t, void* self) {
  auto& connection = *static_cast<Http2Connection*>(self);
  Http2Stream* stream = connection.Find(frame->hd.stream_id);
  if (stream == nullptr || stream->too_large_ || stream->handler_gone_) return 0;
  // A few bytes on the wire can name kilobytes: what counts is the decoded size, over the whole block (CVE-2016-6581).
  stream->header_bytes_ += name_bytes + value_bytes + 32;
  if (stream->header_bytes_ > connection.limits_.max_header_bytes) {
    stream->too_large_ = true;
    return 0;
  }
  stream->OnField(Text(name, name_bytes), Text(value, value_bytes));
  return 0;
}

int Http2Connection::OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* self) {
  auto& connection = *static_cast<Http2Connection*>(self);
  const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
      if (Http2Stream* stream = connection.Find(frame->hd.stream_id); stream != nullptr && !stream->handler_gone_) {
        if (end) stream->remote_ended_ = true;
        stream->OnFieldsEnd(end);
      }
      return 0;
    case NGHTTP2_DATA:
      if (Http2Stream* stream = connection.Find(frame->hd.stream_id); stream != nullptr && end) {
        stream->remote_ended_ = true;
        if (!stream->handler_gone_) stream->OnRemoteEnd();
      }
      return 0;
    case NGHTTP2_RST_STREAM:
      if (Http2Stream* stream = connection.Find(frame->hd.stream_id)) stream->remote_ended_ = true;
      return 0;
    case NGHTTP2_PING:
      // The only one of ours is the one that a drain sends.
      if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0 && connection.draining_) connection.FinishDrain();
      return 0;
    case NGHTTP2_GOAWAY:
      connection.peer_goes_ = true;
      connection.OnCapacity();
      return 0;
    case NGHTTP2_SETTINGS:
      connection.settings_seen_ = true;
      connection.OnCapacity();
      return 0;
    default:
      return 0;
  }
}

int Http2Connection::OnData(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t n, void* self) {
  auto& connection = *static_cast<Http2Connection*>(self);
  // The connection's window is given back at once: a stream that stalls stops itself and no other.
  nghttp2_session_consume_connection(session, n);
  Http2Stream* stream = connection.Find(id);
  if (stream == nullptr || stream->handler_gone_) {
    nghttp2_session_consume_stream(session, id, n);
    return 0;
  }
  stream->unconsumed_ += n;
  stream->OnChunk({data, n});
  stream = connection.Find(id);
  if (stream != nullptr && !stream->paused_ && stream->unconsumed_ > 0) {
    nghttp2_session_consume_stream(session, id, std::exchange(stream->unconsumed_, 0));
  }
  return 0;
}

int Http2Connection::OnFrameSent(nghttp2_session* session, const nghttp2_frame* frame, void* self) {
  auto& connection = *static_cast<Http2Connection*>(self);
  Http2Stream* const stream = connection.Find(frame->hd.stream_id);
  switch (frame->hd.type) {
    case NGHTTP2_RST_STREAM:
      // Refused before it was anything.
      if (stream == nullptr) connection.closed_.Add(frame->hd.stream_id, false);
      return 0;
    case NGHTTP2_GOAWAY:
      // Not before: nghttp2 sends PINGs first, and the answer is to say that this was heard.
      if (!connection.draining_ || connection.drained_ || connection.broken_) return 0;
      return nghttp2_submit_ping(session, NGHTTP2_FLAG_NONE, nullptr);
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
      if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0 || stream == nullptr) return 0;
      stream->end_sent_ = true;
      if (stream->remote_ended_) return 0;
      // An answer that is whole before its request is: the client need not send the rest (RFC 9113 section 8.1).
      return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    default:
      return 0;
  }
}

int Http2Connection::OnClose(nghttp2_session*, int32_t id, uint32_t code, void* self) {
  auto& connection = *static_cast<Http2Connection*>(self);
  const auto found = connection.streams_.find(id);
  if (found == connection.streams_.end()) return 0;
  std::unique_ptr<Http2Stream> stream = std::move(found->second);
  connection.closed_.Add(id, stream->remote_ended_);
  if (code == NGHTTP2_NO_ERROR && stream->end_sent_) connection.resets_.GiveBack();
  connection.streams_.erase(found);
  connection.active_ms_ = connection.context_.loop.now_ms();
  std::erase(connection.writable_, stream.get());
  stream->id_ = -1;
  if (!stream->handler_gone_) stream->OnClosed(ErrorOf(code));
  connection.context_.loop.Retire(std::move(stream));
  connection.OnCapacity();
  connection.FlushSoon();
  return 0;
}

ssize_t Http2Connection::ReadBody(nghttp2_session* session, int32_t id, uint8_t* into, size_t room, uint32_t* flags,
                                  nghttp2_data_source* source, void* self) {
  auto& stream = *static_cast<Http2Stream*>(source->ptr);
  const size_t n = std::min(room, stream.out_.size());
  if (n > 0) {
    std::memcpy(into, stream.out_.data(), n);
    stream.out_.Consume(n);
  }
  if (stream.blocked_ && stream.out_.size() <= Http2Stream::kHighWatermark / 2) {
    stream.blocked_ = false;
    static_cast<Http2Connection*>(self)->WritableLater(stream);
  }
  if (stream.local_end_ && stream.out_.empty()) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!stream.trailers_.empty()) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      nghttp2_submit_trailer(session, id, stream.trailers_.data(), stream.trailers_.size());
    }
    return static_cast<ssize_t>(n);
  }
  if (n > 0) return static_cast<ssize_t>(n);
  stream.deferred_ = true;
  return NGHTTP2_ERR_DEFERRED;
}

}  // namespace weft::http
