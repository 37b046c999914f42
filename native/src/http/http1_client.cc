#include "http/http1_client.h"

#include <charconv>
#include <utility>

#include "http/http1_write.h"

namespace weft::http {

Http1Client::Http1Client(LoopContext& context, std::unique_ptr<ByteStream> stream, Owner& owner,
                         const ClientLimits& limits)
    : context_(context), stream_(std::move(stream)), owner_(owner), limits_(limits), head_(arena_), down_task_([this] {
        owner_.OnConnectionDown(*this, StreamEnd::kAborted, {});
      }) {
  stream_->set_handler(this);
}

Http1Client::~Http1Client() = default;

// ---- writing
// ----------------------------------------------------------------------------------------------------------

ClientStream* Http1Client::Open(const RequestHead& head, bool end, ClientStream::Handler& handler) {
  if (!CanOpen()) return nullptr;
  exchange_open_ = true;
  handler_ = &handler;
  method_ = head.method;
  request_done_ = end;
  head_taken_ = response_done_ = tunnel_ = false;
  informational_ = 0;
  early_.clear();
  upgrade_wanted_ = !head.upgrade.empty() || head.method == "CONNECT";
  Buffer& out = stream_->out();
  AppendText(out, head.method);
  AppendText(out, " ");
  AppendText(out, head.method == "CONNECT" ? head.authority : head.path);
  AppendText(out, " HTTP/1.1\r\nhost: ");
  AppendText(out, head.authority);
  AppendText(out, "\r\n");
  AppendFields(out, head.headers);
  request_chunked_ = false;
  if (!head.upgrade.empty()) {
    AppendText(out, "connection: upgrade\r\nupgrade: ");
    AppendText(out, head.upgrade);
    AppendText(out, "\r\n");
  } else if (upgrade_wanted_) {
    // CONNECT has no body that could be framed.
  } else if (head.content_length) {
    char digits[24];
    const auto written = std::to_chars(digits, digits + sizeof digits, *head.content_length);
    AppendText(out, "content-length: ");
    AppendText(out, {digits, static_cast<size_t>(written.ptr - digits)});
    AppendText(out, "\r\n");
  } else if (!end) {
    request_chunked_ = true;
    AppendText(out, "transfer-encoding: chunked\r\n");
  } else if (head.method == "POST" || head.method == "PUT" || head.method == "PATCH") {
    AppendText(out, "content-length: 0\r\n");
  }
  AppendText(out, "\r\n");
  stream_->WriteSoon();
  return this;
}

void Http1Client::SendBody(std::span<const uint8_t> bytes, bool end) {
  if (!exchange_open_ || request_done_ || closing_) return;
  if (upgrade_wanted_) {
    // Nothing of the tunnel before it stands: the server might read it as a request (CVE-2025-64763).
    if (!tunnel_) early_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (tunnel_) stream_->Write(bytes);
    if (end && tunnel_) stream_->FinishWrites();
    if (end) request_done_ = true;
    if (end) MaybeFinish();
    return;
  }
  if (!bytes.empty()) {
    if (request_chunked_) AppendChunkHead(stream_->out(), bytes.size());
    stream_->Write(bytes);
    if (request_chunked_) AppendText(stream_->out(), "\r\n");
  }
  if (end) {
    if (request_chunked_) AppendText(stream_->out(), "0\r\n\r\n");
    request_done_ = true;
  }
  stream_->WriteSoon();
  if (end) MaybeFinish();
}

void Http1Client::SendTrailers(const HeaderMap& trailers) {
  if (!exchange_open_ || request_done_ || closing_) return;
  if (request_chunked_) {
    AppendText(stream_->out(), "0\r\n");
    AppendFields(stream_->out(), trailers);
    AppendText(stream_->out(), "\r\n");
  }
  request_done_ = true;
  stream_->WriteSoon();
  MaybeFinish();
}

// ---- reading
// ----------------------------------------------------------------------------------------------------------

void Http1Client::OnBytes(std::span<const uint8_t> bytes) {
  // Nothing is opened before all that came is looked at: what is left behind an answer must not become the answer to
  // the next request.
  reading_ = true;
  Take(bytes);
  reading_ = false;
  if (std::exchange(capacity_due_, false) && CanOpen()) owner_.OnCapacityChanged(*this);
}

void Http1Client::Take(std::span<const uint8_t> bytes) {
  if (closing_) return;
  std::string waiting;
  if (!pending_.empty()) {
    pending_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    waiting.swap(pending_);
    bytes = {reinterpret_cast<const uint8_t*>(waiting.data()), waiting.size()};
  }
  while (!bytes.empty() && !closing_) {
    // Nobody has asked for this: whose answer it is cannot be known.
    if (!exchange_open_ || response_done_) return Broken(StreamError::kProtocol);
    if (tunnel_) {
      handler_->OnBody(bytes, false);
      return;
    }
    if (!head_taken_) {
      const size_t n = TakeHead(bytes);
      if (n == 0) return;
      bytes = bytes.subspan(n);
      continue;
    }
    bytes = bytes.subspan(body_.Feed(bytes, *this));
    if (body_.failed()) return Broken(StreamError::kProtocol);
  }
}

size_t Http1Client::TakeHead(std::span<const uint8_t> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::optional<size_t> found = FindHeadEnd(text, scanned_);
  if (!found || (*found == 0 ? text.size() : *found) > limits_.max_header_bytes) {
    Broken(!found ? StreamError::kProtocol : StreamError::kLimit);
    return 0;
  }
  if (*found == 0) {
    pending_.assign(text);
    return 0;
  }
  scanned_ = 0;
  return BeginResponse(text.substr(0, *found)) ? *found : 0;
}

bool Http1Client::BeginResponse(std::string_view block) {
  char* const copy = arena_.Take(block.size());
  std::copy(block.begin(), block.end(), copy);
  head_.headers.clear();
  head_.content_length.reset();
  Http1Meta meta;
  if (ParseResponseHead(copy, block.size(), limits_.max_headers, method_, head_, meta)) {
    Broken(StreamError::kProtocol);
    return false;
  }
  if (head_.status < 200 && !head_.upgraded) {
    if (++informational_ > kMaxInformational) {
      Broken(StreamError::kLimit);
      return false;
    }
    handler_->OnInformational(head_);
    return !closing_ && exchange_open_;
  }
  // 101 without having been asked.
  if (head_.upgraded && !upgrade_wanted_) {
    Broken(StreamError::kProtocol);
    return false;
  }
  head_taken_ = true;
  keep_alive_ = keep_alive_ && meta.keep_alive;
  if (head_.upgraded) {
    tunnel_ = true;
    keep_alive_ = false;
    handler_->OnHead(head_, false);
    if (!tunnel_ || closing_) return false;
    stream_->Write({reinterpret_cast<const uint8_t*>(early_.data()), early_.size()});
    early_.clear();
    if (request_done_) {
      stream_->FinishWrites();
    } else {
      handler_->OnStreamWritable();
    }
    return !closing_;
  }
  if (upgrade_wanted_) {
    request_done_ = true;
    early_.clear();
    // Refused: what was meant for the tunnel may have been seen by nobody, and the connection is not used again.
    keep_alive_ = false;
  }
  body_.Begin(meta);
  const bool end = body_.done();
  if (end) response_done_ = true;
  handler_->OnHead(head_, end);
  if (end) MaybeFinish();
  return true;
}

void Http1Client::OnBodyBytes(std::span<const uint8_t> bytes, bool end) {
  if (end) response_done_ = true;
  if (handler_ != nullptr) handler_->OnBody(bytes, end);
  if (end) MaybeFinish();
}

void Http1Client::OnTrailerBlock(std::string_view block) {
  HeaderMap trailers(arena_);
  char* const copy = arena_.Take(block.size());
  std::copy(block.begin(), block.end(), copy);
  if (ParseTrailers(copy, block.size(), limits_.max_headers, trailers)) return Broken(StreamError::kProtocol);
  response_done_ = true;
  if (handler_ != nullptr) handler_->OnResponseEnd(trailers.empty() ? nullptr : &trailers);
  MaybeFinish();
}

void Http1Client::OnReadEnd() {
  if (closing_) return;
  if (exchange_open_ && tunnel_) {
    response_done_ = true;
    if (handler_ != nullptr) handler_->OnBody({}, true);
    return MaybeFinish();
  }
  if (exchange_open_ && head_taken_ && body_.until_close()) {
    body_.Stop();
    response_done_ = true;
    keep_alive_ = false;
    if (handler_ != nullptr) handler_->OnResponseEnd(nullptr);
    return MaybeFinish();
  }
  Broken(StreamError::kConnectionClosed);
}

void Http1Client::OnWritable() {
  if (handler_ != nullptr) handler_->OnStreamWritable();
}

void Http1Client::OnStreamDown(StreamEnd end, std::string_view detail) {
  closing_ = down_ = true;
  CloseStream(StreamError::kConnectionClosed);
  owner_.OnConnectionDown(*this, end, detail);
}

// ---- ending
// -----------------------------------------------------------------------------------------------------------

void Http1Client::MaybeFinish() {
  if (!exchange_open_ || !response_done_ || closing_) return;
  if (!request_done_) {
    // The answer is whole and the request is not: nobody wants the rest of it, and the connection is in the middle of
    // it.
    if (tunnel_) return;
    keep_alive_ = false;
    closing_ = true;
    stream_->Close();
    return CloseStream(StreamError::kNone);
  }
  const bool again = keep_alive_ && !tunnel_;
  if (!again) {
    closing_ = true;
    stream_->Close();
  }
  CloseStream(StreamError::kNone);
  if (!again) return;
  // Whoever had asked for a pause while the end of its answer came is not there to take it back.
  stream_->ResumeReads();
  if (reading_) {
    capacity_due_ = true;
  } else {
    owner_.OnCapacityChanged(*this);
  }
}

void Http1Client::CloseStream(StreamError error) {
  if (!exchange_open_) return;
  exchange_open_ = tunnel_ = false;
  ClientStream::Handler* const handler = std::exchange(handler_, nullptr);
  if (handler != nullptr) handler->OnStreamClosed(error);
  head_.~ResponseHead();
  arena_.Reset();
  new (&head_) ResponseHead(arena_);
}

void Http1Client::Broken(StreamError error) {
  CloseStream(error);
  EndNow();
}

void Http1Client::Reset(StreamError) {
  if (!exchange_open_) return;
  handler_ = nullptr;
  EndNow();
}

void Http1Client::EndNow() {
  if (down_) return;
  closing_ = down_ = true;
  stream_->Abort();
  CloseStream(StreamError::kLocal);
  context_.loop.NextTurn(down_task_);
}

void Http1Client::Drain() {
  keep_alive_ = false;
  if (exchange_open_ || closing_) return;
  closing_ = true;
  stream_->Close();
}

void Http1Client::Abort() { EndNow(); }

std::unique_ptr<ClientConnection> MakeHttp1Client(LoopContext& context, std::unique_ptr<ByteStream> stream,
                                                  ClientConnection::Owner& owner, const ClientLimits& limits) {
  return std::make_unique<Http1Client>(context, std::move(stream), owner, limits);
}

}  // namespace weft::http
