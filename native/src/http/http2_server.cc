#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "http/http2_connection.h"

namespace weft::http {
namespace {

class Http2Server;

// A request of a client.
class ServerHttp2Stream final : public Http2Stream, public ServerStream {
 public:
  ServerHttp2Stream(Http2Server& server, LoopContext& context);

  void SendInformational(const ResponseHead& head) override;
  void SendHead(const ResponseHead& head, bool end) override;
  void SendBody(std::span<const uint8_t> bytes, bool end) override { Append(bytes, end); }
  void SendTrailers(const HeaderMap& trailers) override { AppendTrailers(trailers); }
  void Reset(StreamError error) override { connection_.ResetStream(*this, CodeOf(error)); }
  size_t WriteRoom() const override { return Room(); }
  void PauseBody() override { Pause(); }
  void ResumeBody() override { Resume(); }
  void CloseAfter() override;

 private:
  void OnField(std::string_view name, std::string_view value) override;
  void OnFieldsEnd(bool end_stream) override;
  void OnChunk(std::span<const uint8_t> bytes) override {
    if (handler_ != nullptr) handler_->OnBody(bytes, false);
  }
  void OnRemoteEnd() override {
    if (handler_ != nullptr) handler_->OnBody({}, true);
  }
  void OnWritable() override {
    if (handler_ != nullptr) handler_->OnStreamWritable();
  }
  void OnClosed(StreamError error) override {
    if (handler_ == nullptr) return;
    // Whole is what was answered to the end, also before the request was.
    const bool cut = error == StreamError::kNone && !end_sent_;
    std::exchange(handler_, nullptr)->OnStreamClosed(cut ? StreamError::kReset : error);
  }
  void Refuse(uint16_t status, std::string_view detail);

  Http2Server& server_;
  RequestHead head_;
  HeaderMap trailers_in_;
  ServerStream::Handler* handler_ = nullptr;
  std::string_view host_;
  std::string_view protocol_;
  std::string cookie_;
  size_t n_fields_ = 0;
  bool head_done_ = false;
  bool answered_ = false;
};

class Http2Server final : public ServerConnection, public Http2Connection {
 public:
  Http2Server(LoopContext& context, std::unique_ptr<ByteStream> stream, Owner& owner, const ServerLimits& limits,
              std::span<const uint8_t> first)
      : Http2Connection(context, std::move(stream), true),
        owner_(owner),
        idle_ms_(limits.idle_ms),
        header_ms_(limits.header_ms),
        timer_([this] { OnTimer(); }) {
    Start({limits.max_header_bytes, limits.max_headers, limits.stream_window, limits.connection_window,
           limits.max_concurrent_streams},
          first);
    context.loop.Arm(timer_, std::min(idle_ms_, header_ms_));
  }

  void Drain() override { BeginDrain(); }
  void Abort() override { EndNow(); }
  size_t open_streams() const override { return stream_count(); }
  const StreamInfo& info() const override { return stream_->info(); }

  Owner& owner() { return owner_; }
  uint32_t max_headers() const { return limits_.max_headers; }

 private:
  std::unique_ptr<Http2Stream> NewPeerStream() override { return std::make_unique<ServerHttp2Stream>(*this, context_); }
  void OnCapacity() override {}
  void OnBroken(std::string_view detail) override { owner_.OnBadRequest(0, detail); }
  void OnEnded(StreamEnd end, std::string_view detail) override { owner_.OnConnectionDown(end, detail); }
  // Coarse: looks now and then, so that no frame touches a timer.
  void OnTimer() {
    if (ended()) return;
    const uint64_t now = context_.loop.now_ms();
    // A peer that has not answered by now will not.
    if (going_away()) FinishDrain();
    if (const uint64_t since = OwedSinceMs(); since != 0 && now - since >= header_ms_) {
      Break("a preface or header block did not come to its end in time", NGHTTP2_ENHANCE_YOUR_CALM);
    } else if (stream_count() == 0 && now - active_ms() >= idle_ms_) {
      BeginDrain();
    }
    context_.loop.Arm(timer_, std::min(idle_ms_, header_ms_));
  }

  Owner& owner_;
  uint64_t idle_ms_;
  uint64_t header_ms_;
  Timer timer_;
};

ServerHttp2Stream::ServerHttp2Stream(Http2Server& server, LoopContext& context)
    : Http2Stream(server, context), server_(server), head_(arena_), trailers_in_(arena_) {
  head_.protocol = Protocol::kHttp2;
}

void ServerHttp2Stream::OnField(std::string_view name, std::string_view value) {
  if (++n_fields_ > server_.max_headers()) {
    too_large_ = true;
    return;
  }
  if (head_done_) {
    if (!name.starts_with(':')) trailers_in_.Add(name, value);
    return;
  }
  if (name.starts_with(':')) {
    const std::string_view copy = arena_.Copy(value);
    if (name == ":method") head_.method = copy;
    if (name == ":scheme") head_.scheme = copy;
    if (name == ":authority") head_.authority = copy;
    if (name == ":path") head_.path = copy;
    if (name == ":protocol") protocol_ = copy;
    return;
  }
  switch (HeaderIdOf(name)) {
    case HeaderId::kHost:
      host_ = arena_.Copy(value);
      return;
    case HeaderId::kCookie:
      // Crumbs of one field (RFC 9113 section 8.2.3).
      if (!cookie_.empty()) cookie_ += "; ";
      cookie_ += value;
      return;
    case HeaderId::kContentLength: {
      uint64_t length = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
      if (error == std::errc() && end == value.data() + value.size()) head_.content_length = length;
      head_.headers.Add(name, value);
      return;
    }
    case HeaderId::kExpect:
      head_.expect_continue = value == "100-continue";
      head_.headers.Add(name, value);
      return;
    default:
      head_.headers.Add(name, value);
  }
}

void ServerHttp2Stream::OnFieldsEnd(bool end_stream) {
  if (too_large_ && !head_done_) return Refuse(431, "a header block that is too large");
  if (too_large_) {
    ServerStream::Handler* const handler = std::exchange(handler_, nullptr);
    server_.owner().OnBadRequest(0, "trailers that are too large");
    connection_.ResetStream(*this, NGHTTP2_ENHANCE_YOUR_CALM);
    if (handler != nullptr) handler->OnStreamClosed(StreamError::kLimit);
    return;
  }
  if (head_done_) {
    if (handler_ != nullptr && end_stream) handler_->OnRequestEnd(trailers_in_.empty() ? nullptr : &trailers_in_);
    return;
  }
  head_done_ = true;
  n_fields_ = 0;
  if (!cookie_.empty()) head_.headers.Add(HeaderId::kCookie, cookie_);
  if (head_.authority.empty()) head_.authority = host_;
  if (!protocol_.empty()) {
    // An upgrade of HTTP/1 by another name (RFC 8441).
    head_.upgrade = protocol_;
    head_.method = "GET";
  }
  const bool tunnel = !head_.upgrade.empty() || head_.method == "CONNECT";
  // The same rules as HTTP/1's: it may be spoken on the other side.
  if (!IsAuthority(head_.authority)) return Refuse(400, "an authority that is none");
  const bool asterisk = head_.path == "*" && head_.method == "OPTIONS";
  if (!tunnel && !head_.path.starts_with('/') && !asterisk) return Refuse(400, "a path that is none");
  ServerStream::Handler* const handler = server_.owner().OnRequest(*this, head_, end_stream);
  if (id_ >= 0 && !handler_gone_) handler_ = handler;
}

void ServerHttp2Stream::Refuse(uint16_t status, std::string_view detail) {
  server_.owner().OnBadRequest(status, detail);
  handler_ = nullptr;
  const std::string text = std::to_string(status);
  std::vector<nghttp2_nv> fields;
  AddField(fields, ":status", text);
  nghttp2_submit_response(connection_.session(), id_, fields.data(), fields.size(), nullptr);
  connection_.FlushSoon();
}

// RFC 9110 section 8.6. Servers that speak HTTP/1 send one all the same, and clients that speak HTTP/2 refuse it.
bool MayHaveLength(uint16_t status) { return status >= 200 && status != 204; }

std::string_view NameOf(const nghttp2_nv& field) { return {reinterpret_cast<const char*>(field.name), field.namelen}; }

void ServerHttp2Stream::SendInformational(const ResponseHead& head) {
  if (id_ < 0 || answered_) return;
  const std::string status = std::to_string(head.status);
  std::vector<nghttp2_nv> fields;
  AddField(fields, ":status", status);
  AddFields(fields, head.headers);
  nghttp2_submit_headers(connection_.session(), NGHTTP2_FLAG_NONE, id_, nullptr, fields.data(), fields.size(), nullptr);
  connection_.FlushSoon();
}

void ServerHttp2Stream::SendHead(const ResponseHead& head, bool end) {
  if (id_ < 0 || answered_) return;
  answered_ = true;
  char status[4] = {};
  // An accepted upgrade is a plain success here.
  std::to_chars(status, status + 3, head.upgraded ? 200 : head.status);
  std::vector<nghttp2_nv> fields;
  fields.reserve(head.headers.size() + 2);
  AddField(fields, ":status", {status, 3});
  AddFields(fields, head.headers);
  char length[24];
  if (!MayHaveLength(head.status)) {
    std::erase_if(fields, [](const nghttp2_nv& field) { return NameOf(field) == "content-length"; });
  } else if (head.content_length && head.headers.Find(HeaderId::kContentLength) == nullptr) {
    const auto written = std::to_chars(length, length + sizeof length, *head.content_length);
    AddField(fields, "content-length", {length, static_cast<size_t>(written.ptr - length)});
  }
  if (end) {
    local_end_ = true;
    nghttp2_submit_response(connection_.session(), id_, fields.data(), fields.size(), nullptr);
  } else {
    const nghttp2_data_provider provider = connection_.ProviderOf(*this);
    nghttp2_submit_response(connection_.session(), id_, fields.data(), fields.size(), &provider);
  }
  connection_.FlushSoon();
}

void ServerHttp2Stream::CloseAfter() { server_.Drain(); }

}  // namespace

std::unique_ptr<ServerConnection> MakeHttp2Server(LoopContext& context, std::unique_ptr<ByteStream> stream,
                                                  ServerConnection::Owner& owner, const ServerLimits& limits,
                                                  std::span<const uint8_t> first) {
  return std::make_unique<Http2Server>(context, std::move(stream), owner, limits, first);
}

}  // namespace weft::http
