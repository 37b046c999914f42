#include <algorithm>
#include <charconv>
#include <utility>

#include "http/http2_connection.h"

namespace weft::http {
namespace {

class Http2Client;

// 1xx answers before the one that counts.
constexpr uint32_t kMaxInformational = 16;

// A request of ours.
class ClientHttp2Stream final : public Http2Stream, public ClientStream {
 public:
  ClientHttp2Stream(Http2Client& client, LoopContext& context, ClientStream::Handler& handler, bool tunnel);

  void SendBody(std::span<const uint8_t> bytes, bool end) override { Append(bytes, end); }
  void SendTrailers(const HeaderMap& trailers) override { AppendTrailers(trailers); }
  void Reset(StreamError error) override { connection_.ResetStream(*this, CodeOf(error)); }
  size_t WriteRoom() const override { return Room(); }
  void PauseBody() override { Pause(); }
  void ResumeBody() override { Resume(); }
  void Ended() { local_end_ = true; }

 private:
  void OnField(std::string_view name, std::string_view value) override;
  void OnFieldsEnd(bool end_stream) override;
  void OnChunk(std::span<const uint8_t> bytes) override {
    if (handler_ != nullptr) handler_->OnBody(bytes, false);
  }
  void OnRemoteEnd() override {
    response_done_ = true;
    if (handler_ != nullptr) handler_->OnBody({}, true);
  }
  void OnWritable() override {
    if (handler_ != nullptr) handler_->OnStreamWritable();
  }
  void OnClosed(StreamError error) override {
    if (handler_ == nullptr) return;
    // A server that has answered in full may refuse the rest of the request with NO_ERROR (RFC 9113 section 8.1).
    const bool cut = error == StreamError::kNone && !response_done_;
    std::exchange(handler_, nullptr)->OnStreamClosed(cut ? StreamError::kReset : error);
  }

  uint32_t max_headers_;
  bool tunnel_;
  ResponseHead head_;
  HeaderMap trailers_in_;
  ClientStream::Handler* handler_;
  size_t n_fields_ = 0;
  uint32_t informational_ = 0;
  bool head_done_ = false;
  bool response_done_ = false;
};

class Http2Client final : public ClientConnection, public Http2Connection {
 public:
  Http2Client(LoopContext& context, std::unique_ptr<ByteStream> stream, Owner& owner, const ClientLimits& limits)
      : Http2Connection(context, std::move(stream), false), owner_(owner), max_streams_(limits.max_concurrent_streams) {
    Start({limits.max_header_bytes, limits.max_headers, limits.stream_window, limits.connection_window, 0}, {});
  }

  ClientStream* Open(const RequestHead& head, bool end, ClientStream::Handler& handler) override;
  bool CanOpen() const override {
    auto* const session = const_cast<Http2Client*>(this)->session();
    return !ended() && !going_away() && nghttp2_session_check_request_allowed(session) != 0 &&
           stream_count() < std::min(max_streams_, nghttp2_session_get_remote_settings(
                                                       session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS));
  }
  void Drain() override { BeginDrain(); }
  void Abort() override { EndNow(); }
  size_t open_streams() const override { return stream_count(); }
  const StreamInfo& info() const override { return stream_->info(); }
  uint32_t max_headers() const { return limits_.max_headers; }

 private:
  std::unique_ptr<Http2Stream> NewPeerStream() override { return nullptr; }
  void OnCapacity() override { context_.loop.NextTurn(capacity_task_); }
  void OnBroken(std::string_view) override {}
  void OnEnded(StreamEnd end, std::string_view detail) override {
    capacity_task_.Cancel();
    owner_.OnConnectionDown(*this, end, detail);
  }

  Owner& owner_;
  uint32_t max_streams_;
  // Not from within nghttp2: whoever hears of it opens streams.
  TurnTask capacity_task_{[this] {
    if (!ended()) owner_.OnCapacityChanged(*this);
  }};
};

ClientHttp2Stream::ClientHttp2Stream(Http2Client& client, LoopContext& context, ClientStream::Handler& handler,
                                     bool tunnel)
    : Http2Stream(client, context),
      max_headers_(client.max_headers()),
      tunnel_(tunnel),
      head_(arena_),
      trailers_in_(arena_),
      handler_(&handler) {
  head_.protocol = Protocol::kHttp2;
}

void ClientHttp2Stream::OnField(std::string_view name, std::string_view value) {
  if (++n_fields_ > max_headers_) {
    too_large_ = true;
    return;
  }
  if (head_done_) {
    if (!name.starts_with(':')) trailers_in_.Add(name, value);
    return;
  }
  if (name == ":status") {
    std::from_chars(value.data(), value.data() + value.size(), head_.status);
    return;
  }
  if (HeaderIdOf(name) == HeaderId::kContentLength) {
    uint64_t length = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
    if (error == std::errc() && end == value.data() + value.size()) head_.content_length = length;
  }
  head_.headers.Add(name, value);
}

void ClientHttp2Stream::OnFieldsEnd(bool end_stream) {
  if (too_large_) {
    ClientStream::Handler* const handler = std::exchange(handler_, nullptr);
    connection_.ResetStream(*this, NGHTTP2_ENHANCE_YOUR_CALM);
    if (handler != nullptr) handler->OnStreamClosed(StreamError::kLimit);
    return;
  }
  if (handler_ == nullptr) return;
  if (head_done_) {
    if (!end_stream) return;
    response_done_ = true;
    handler_->OnResponseEnd(trailers_in_.empty() ? nullptr : &trailers_in_);
    return;
  }
  n_fields_ = 0;
  if (head_.status < 200) {
    if (++informational_ > kMaxInformational) {
      connection_.ResetStream(*this, NGHTTP2_ENHANCE_YOUR_CALM);
      return std::exchange(handler_, nullptr)->OnStreamClosed(StreamError::kLimit);
    }
    handler_->OnInformational(head_);
    head_.headers.clear();
    head_.content_length.reset();
    return;
  }
  head_done_ = true;
  if (tunnel_ && head_.status / 100 == 2) {
    head_.upgraded = true;
    head_.status = 101;
  }
  if (end_stream) response_done_ = true;
  handler_->OnHead(head_, end_stream);
}

ClientStream* Http2Client::Open(const RequestHead& head, bool end, ClientStream::Handler& handler) {
  if (!CanOpen()) return nullptr;
  const bool upgrade = !head.upgrade.empty();
  auto stream = std::make_unique<ClientHttp2Stream>(*this, context_, handler, upgrade);
  ClientHttp2Stream& opened = *stream;
  std::vector<nghttp2_nv> fields;
  fields.reserve(head.headers.size() + 6);
  AddField(fields, ":method", upgrade ? std::string_view("CONNECT") : head.method);
  const bool connect = head.method == "CONNECT" && !upgrade;
  if (!connect) AddField(fields, ":scheme", head.scheme.empty() ? std::string_view("http") : head.scheme);
  AddField(fields, ":authority", head.authority);
  if (!connect) AddField(fields, ":path", head.path);
  if (upgrade) AddField(fields, ":protocol", head.upgrade);
  AddFields(fields, head.headers);
  int32_t id;
  if (end) {
    opened.Ended();
    id = nghttp2_submit_request(session(), nullptr, fields.data(), fields.size(), nullptr, nullptr);
  } else {
    const nghttp2_data_provider provider = ProviderOf(opened);
    id = nghttp2_submit_request(session(), nullptr, fields.data(), fields.size(), &provider, nullptr);
  }
  if (id < 0) return nullptr;
  Adopt(std::move(stream), id);
  FlushSoon();
  return &opened;
}

}  // namespace

std::unique_ptr<ClientConnection> MakeHttp2Client(LoopContext& context, std::unique_ptr<ByteStream> stream,
                                                  ClientConnection::Owner& owner, const ClientLimits& limits) {
  return std::make_unique<Http2Client>(context, std::move(stream), owner, limits);
}

}  // namespace weft::http
