#include "http/http1_server.h"

#include <charconv>
#include <utility>

#include "http/http1_write.h"

namespace weft::http {

Http1Server::Http1Server(LoopContext& context, std::unique_ptr<ByteStream> stream, Owner& owner,
                         const ServerLimits& limits, std::span<const uint8_t> first)
    : context_(context),
      stream_(std::move(stream)),
      owner_(owner),
      limits_(limits),
      head_(arena_),
      pending_(reinterpret_cast<const char*>(first.data()), first.size()),
      timer_([this] { OnTimer(); }),
      next_task_([this] {
        Take({});
        if (read_ended_ && !tunnel_) OnReadEnd();
      }),
      down_task_([this] { owner_.OnConnectionDown(StreamEnd::kAborted, {}); }) {
  stream_->set_handler(this);
  WatchTime(limits_.header_ms);
  if (!pending_.empty()) context_.loop.NextTurn(next_task_);
}

Http1Server::~Http1Server() = default;

// ---- reading
// ----------------------------------------------------------------------------------------------------------

void Http1Server::OnBytes(std::span<const uint8_t> bytes) { Take(bytes); }

void Http1Server::Take(std::span<const uint8_t> bytes) {
  if (closing_) return;
  std::string waiting;
  if (!pending_.empty()) {
    // What waits comes first.
    pending_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    waiting.swap(pending_);
    bytes = {reinterpret_cast<const uint8_t*>(waiting.data()), waiting.size()};
  }
  while (!bytes.empty() && !closing_) {
    if (!request_open_) {
      const size_t n = TakeHead(bytes);
      if (n == 0) break;
      bytes = bytes.subspan(n);
    } else if (tunnel_) {
      if (handler_ != nullptr) handler_->OnBody(bytes, false);
      break;
    } else if (request_done_) {
      // Pipelined, or early data behind an upgrade that is not accepted yet: waits, and the socket with it.
      pending_.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      stream_->PauseReads();
      break;
    } else {
      bytes = bytes.subspan(body_.Feed(bytes, *this));
      if (body_.failed()) Refuse(400, "a chunk is broken");
    }
  }
}

size_t Http1Server::TakeHead(std::span<const uint8_t> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  // An empty line before a request is forgiven, once (RFC 9112 section 2.2).
  const size_t skipped = !blank_line_forgiven_ && scanned_ == 0 && text.starts_with("\r\n") ? 2 : 0;
  blank_line_forgiven_ = blank_line_forgiven_ || skipped > 0;
  const std::string_view rest = text.substr(skipped);
  const std::optional<size_t> found = FindHeadEnd(rest, scanned_);
  if (!found) {
    Refuse(400, "a line that does not end with CR LF");
    return 0;
  }
  const size_t head_bytes = *found == 0 ? rest.size() : *found;
  if (head_bytes > limits_.max_header_bytes) {
    Refuse(431, "the head is too long");
    return 0;
  }
  if (*found == 0) {
    pending_.assign(rest);
    // Counted from the first byte: a byte now and then gains nothing.
    if (!std::exchange(head_begun_, true)) WatchTime(limits_.header_ms);
    return 0;
  }
  scanned_ = 0;
  head_begun_ = blank_line_forgiven_ = false;
  BeginRequest(rest.substr(0, *found));
  return skipped + *found;
}

void Http1Server::BeginRequest(std::string_view block) {
  char* const copy = arena_.Take(block.size());
  std::copy(block.begin(), block.end(), copy);
  if (const auto problem = ParseRequestHead(copy, block.size(), limits_.max_headers, head_, meta_)) {
    return Refuse(problem->status, problem->detail);
  }
  keep_alive_ = keep_alive_ && meta_.keep_alive && !draining_;
  request_open_ = true;
  body_paused_ = false;
  response_ = Response::kNone;
  body_.Begin(meta_);
  const bool tunnel_wanted = !head_.upgrade.empty() || head_.method == "CONNECT";
  request_done_ = body_.done();
  WatchTime(0);
  // Whoever asks for a tunnel sends more, once it stands.
  ServerStream::Handler* const handler = owner_.OnRequest(*this, head_, request_done_ && !tunnel_wanted);
  if (request_open_) handler_ = handler;
}

void Http1Server::OnBodyBytes(std::span<const uint8_t> bytes, bool end) {
  if (end) RequestDone();
  if (handler_ != nullptr) handler_->OnBody(bytes, end);
}

void Http1Server::OnTrailerBlock(std::string_view block) {
  HeaderMap trailers(arena_);
  char* const copy = arena_.Take(block.size());
  std::copy(block.begin(), block.end(), copy);
  if (const auto problem = ParseTrailers(copy, block.size(), limits_.max_headers, trailers)) {
    return Refuse(problem->status, problem->detail);
  }
  RequestDone();
  if (handler_ != nullptr) handler_->OnRequestEnd(trailers.empty() ? nullptr : &trailers);
}

void Http1Server::RequestDone() { request_done_ = true; }

void Http1Server::OnReadEnd() {
  read_ended_ = true;
  if (closing_) return;
  if (!request_open_) {
    // Whole requests that wait are answered first.
    if (pending_.empty() || head_begun_) CloseConnection();
    return;
  }
  if (tunnel_) {
    if (handler_ != nullptr) handler_->OnBody({}, true);
    if (tunnel_ && response_ == Response::kDone) FinishExchange();
    return;
  }
  // A client that has asked may close its half and still wait for the answer.
  if (pending_.empty()) keep_alive_ = false;
  if (request_done_) return;
  CloseStream(StreamError::kConnectionClosed);
  CloseConnection();
}

void Http1Server::PauseBody() {
  body_paused_ = true;
  stream_->PauseReads();
}

void Http1Server::ResumeBody() {
  body_paused_ = false;
  // What waits behind the request goes on waiting, and more of it in the socket.
  if (tunnel_ || pending_.empty()) stream_->ResumeReads();
}

void Http1Server::OnWritable() {
  if (handler_ != nullptr) handler_->OnStreamWritable();
}

void Http1Server::OnStreamDown(StreamEnd end, std::string_view detail) {
  closing_ = down_ = true;
  timer_.Disarm();
  next_task_.Cancel();
  CloseStream(StreamError::kConnectionClosed);
  owner_.OnConnectionDown(end, detail);
}

// ---- writing
// ----------------------------------------------------------------------------------------------------------

void Http1Server::SendInformational(const ResponseHead& head) {
  if (!request_open_ || response_ != Response::kNone || head_.protocol == Protocol::kHttp10) return;
  Buffer& out = stream_->out();
  AppendStatusLine(out, head.status);
  AppendFields(out, head.headers);
  AppendText(out, "\r\n");
  stream_->WriteSoon();
}

void Http1Server::SendHead(const ResponseHead& head, bool end) {
  if (!request_open_ || response_ != Response::kNone || closing_) return;
  response_ = Response::kHead;
  Buffer& out = stream_->out();
  AppendStatusLine(out, head.status);
  AppendFields(out, head.headers);
  const bool tunnel_wanted = !head_.upgrade.empty() || head_.method == "CONNECT";
  response_chunked_ = false;
  if (tunnel_wanted && head.upgraded) {
    tunnel_ = true;
    keep_alive_ = false;
    if (!head_.upgrade.empty()) {
      AppendText(out, "connection: upgrade\r\nupgrade: ");
      AppendText(out, head_.upgrade);
      AppendText(out, "\r\n");
    }
    AppendText(out, "\r\n");
    stream_->WriteSoon();
    // What came behind the head is the tunnel's, now that it stands.
    if (!pending_.empty()) context_.loop.NextTurn(next_task_);
    if (!body_paused_) stream_->ResumeReads();
    return;
  }
  // What a client sent behind a refused upgrade is no request of its own.
  if (tunnel_wanted) {
    keep_alive_ = false;
    request_done_ = true;
    pending_.clear();
  }
  const bool no_content = head.status == 204 || head.status == 304 || head.status < 200;
  response_has_body_ = !no_content && head_.method != "HEAD";
  if (const std::optional<uint64_t> length = head.content_length                        ? head.content_length
                                             : end && !no_content && response_has_body_ ? std::optional<uint64_t>(0)
                                                                                        : std::nullopt) {
    if (head.status != 204 && head.status >= 200) {
      char digits[24];
      const auto written = std::to_chars(digits, digits + sizeof digits, *length);
      AppendText(out, "content-length: ");
      AppendText(out, {digits, static_cast<size_t>(written.ptr - digits)});
      AppendText(out, "\r\n");
    }
  } else if (response_has_body_ && !end) {
    if (head_.protocol == Protocol::kHttp11) {
      response_chunked_ = true;
      AppendText(out, "transfer-encoding: chunked\r\n");
    } else {
      keep_alive_ = false;
    }
  }
  if (!request_done_ && end) keep_alive_ = false;
  if (!keep_alive_) {
    AppendText(out, "connection: close\r\n");
  } else if (head_.protocol == Protocol::kHttp10) {
    AppendText(out, "connection: keep-alive\r\n");
  }
  AppendText(out, "\r\n");
  stream_->WriteSoon();
  if (end) ResponseDone();
}

void Http1Server::SendBody(std::span<const uint8_t> bytes, bool end) {
  if (!request_open_ || response_ != Response::kHead || closing_) return;
  if (tunnel_) {
    stream_->Write(bytes);
    if (end) {
      stream_->FinishWrites();
      response_ = Response::kDone;
      if (read_ended_) FinishExchange();
    }
    return;
  }
  if (response_has_body_ && !bytes.empty()) {
    if (response_chunked_) AppendChunkHead(stream_->out(), bytes.size());
    stream_->Write(bytes);
    if (response_chunked_) AppendText(stream_->out(), "\r\n");
  }
  if (!end) {
    stream_->WriteSoon();
    return;
  }
  if (response_has_body_ && response_chunked_) AppendText(stream_->out(), "0\r\n\r\n");
  stream_->WriteSoon();
  ResponseDone();
}

void Http1Server::SendTrailers(const HeaderMap& trailers) {
  if (!request_open_ || response_ != Response::kHead || closing_) return;
  if (response_has_body_ && response_chunked_) {
    AppendText(stream_->out(), "0\r\n");
    AppendFields(stream_->out(), trailers);
    AppendText(stream_->out(), "\r\n");
  }
  stream_->WriteSoon();
  ResponseDone();
}

// A cut body must not look like a whole one: the connection goes with it.
void Http1Server::Reset(StreamError) {
  if (!request_open_) return;
  handler_ = nullptr;
  // Chunks or a length tell that it is cut, so what is there of the answer goes out first.
  const bool framed = head_.protocol == Protocol::kHttp11 && response_ == Response::kHead && !tunnel_;
  if (!framed) return EndNow();
  CloseStream(StreamError::kLocal);
  CloseConnection();
}

// Without a word to the peer; the owner hears of it in a turn of its own.
void Http1Server::EndNow() {
  if (down_) return;
  closing_ = down_ = true;
  timer_.Disarm();
  next_task_.Cancel();
  stream_->Abort();
  CloseStream(StreamError::kLocal);
  context_.loop.NextTurn(down_task_);
}

void Http1Server::ResponseDone() {
  response_ = Response::kDone;
  FinishExchange();
}

void Http1Server::FinishExchange() {
  // An answer before the request has come to its end: what is left of it is nobody's.
  const bool more = !read_ended_ || !pending_.empty();
  const bool again = keep_alive_ && request_done_ && !tunnel_ && more && !draining_;
  CloseStream(StreamError::kNone);
  if (!again) return CloseConnection();
  WatchTime(limits_.idle_ms);
  stream_->ResumeReads();
  if (!pending_.empty()) context_.loop.NextTurn(next_task_);
}

void Http1Server::CloseStream(StreamError error) {
  if (!request_open_) return;
  request_open_ = false;
  tunnel_ = false;
  ServerStream::Handler* const handler = std::exchange(handler_, nullptr);
  if (handler != nullptr) handler->OnStreamClosed(error);
  head_.~RequestHead();
  arena_.Reset();
  new (&head_) RequestHead(arena_);
}

void Http1Server::Refuse(uint16_t status, std::string_view detail) {
  if (closing_) return;
  const bool answered = response_ == Response::kNone || !request_open_;
  owner_.OnBadRequest(answered ? status : 0, detail);
  if (answered) {
    Buffer& out = stream_->out();
    AppendStatusLine(out, status);
    AppendText(out, "content-length: 0\r\nconnection: close\r\n\r\n");
    stream_->WriteSoon();
  }
  CloseStream(StreamError::kProtocol);
  // An answer that has begun is cut, and must look so.
  if (!answered) return EndNow();
  CloseConnection();
}

void Http1Server::CloseConnection() {
  if (closing_) return;
  closing_ = true;
  pending_.clear();
  stream_->Close();
}

void Http1Server::Drain() {
  draining_ = true;
  keep_alive_ = false;
  if (!request_open_ && pending_.empty()) CloseConnection();
}

void Http1Server::Abort() { EndNow(); }

// Lazily: the timer is left armed and looks at the deadline when it goes off.
void Http1Server::WatchTime(uint64_t within_ms) {
  deadline_ms_ = within_ms == 0 ? 0 : context_.loop.now_ms() + within_ms;
  if (within_ms != 0 && !timer_.armed()) context_.loop.Arm(timer_, within_ms);
}

void Http1Server::OnTimer() {
  if (closing_ || deadline_ms_ == 0) return;
  const uint64_t now = context_.loop.now_ms();
  if (now < deadline_ms_) return context_.loop.Arm(timer_, deadline_ms_ - now);
  if (pending_.empty()) return CloseConnection();
  Refuse(408, "the head did not come to its end in time");
}

std::unique_ptr<ServerConnection> MakeHttp1Server(LoopContext& context, std::unique_ptr<ByteStream> stream,
                                                  ServerConnection::Owner& owner, const ServerLimits& limits,
                                                  std::span<const uint8_t> first) {
  return std::make_unique<Http1Server>(context, std::move(stream), owner, limits, first);
}

}  // namespace weft::http
