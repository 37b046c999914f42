#pragma once

// What the two HTTP/1 targets share: readers that write down what they understand, and check the order of it.

#include <memory>
#include <string>

#include "fuzz/fuzz_target.h"
#include "http/codec.h"
#include "memory_stream.h"

namespace weft::fuzz {

class PeerOfCodec {
 public:
  void Say(std::span<const uint8_t> bytes) { peer_->Say(bytes); }
  void SayEnd() { peer_->SayEnd(); }

 protected:
  PeerOfCodec() : loop_(std::move(*EpollLoop::Create())), context_(*loop_) {}
  ~PeerOfCodec() = default;
  std::unique_ptr<ByteStream> MakePeer() {
    auto stream = std::make_unique<test::MemoryStream>(context_);
    peer_ = stream.get();
    return stream;
  }
  void Add(const std::string& text) { understood_ += text + "\n"; }
  void AddFields(const http::HeaderMap& fields) {
    for (const http::Header& each : fields) {
      FUZZ_CHECK(!each.name.empty() && each.value.find_first_of("\r\n") == std::string_view::npos);
      FUZZ_CHECK(each.name.find_first_of(" :\r\nABCDEFGHIJKLMNOPQRSTUVWXYZ") == std::string_view::npos);
      FUZZ_CHECK(each.value.find('\0') == std::string_view::npos);
      FUZZ_CHECK(each.id != http::HeaderId::kTransferEncoding && each.id != http::HeaderId::kConnection);
      Add(std::string(each.name) + ": " + std::string(each.value));
    }
  }
  void AddBody(std::span<const uint8_t> bytes) {
    body_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void EndBody() { Add("[" + std::exchange(body_, {}) + "]"); }

  std::unique_ptr<EpollLoop> loop_;
  LoopContext context_;
  test::MemoryStream* peer_ = nullptr;
  std::string understood_, body_;
};

// A server that answers every request that is whole.
class RequestReader final : public PeerOfCodec, http::ServerConnection::Owner, http::ServerStream::Handler {
 public:
  RequestReader() : server_(http::MakeHttp1Server(context_, MakePeer(), *this, {}, {})) {}
  std::string Finish() {
    SayEnd();
    server_->Abort();
    FUZZ_CHECK(server_->open_streams() == 0 && !open_);
    return understood_;
  }

 private:
  http::ServerStream::Handler* OnRequest(http::ServerStream& stream, http::RequestHead& head, bool end) override {
    FUZZ_CHECK(!open_ && !bad_);
    FUZZ_CHECK(http::IsAuthority(head.authority) && !head.method.empty());
    Add(std::string(head.method) + " " + std::string(head.authority) + " " + std::string(head.path));
    AddFields(head.headers);
    stream_ = &stream;
    if (end) Answer();
    open_ = !end;
    return end ? nullptr : this;
  }
  void OnBadRequest(uint16_t status, std::string_view) override {
    bad_ = true;
    Add("bad " + std::to_string(status));
  }
  void OnConnectionDown(StreamEnd, std::string_view) override {}
  void OnBody(std::span<const uint8_t> bytes, bool end) override {
    FUZZ_CHECK(open_);
    AddBody(bytes);
    if (end) OnRequestEnd(nullptr);
  }
  void OnRequestEnd(const http::HeaderMap* trailers) override {
    FUZZ_CHECK(open_);
    EndBody();
    if (trailers != nullptr) AddFields(*trailers);
    Answer();
  }
  void OnStreamWritable() override {}
  void OnStreamClosed(http::StreamError) override { FUZZ_CHECK(std::exchange(open_, false)); }
  void Answer() {
    Arena arena;
    http::ResponseHead head(arena);
    head.status = 204;
    stream_->SendHead(head, true);
  }

  http::ServerStream* stream_ = nullptr;
  bool open_ = false, bad_ = false;
  std::unique_ptr<http::ServerConnection> server_;
};

enum Asked { kAskGet, kAskHead, kAskUpgrade };

// A client that has asked once.
template <Asked kAsked>
class AnswerReader final : public PeerOfCodec, http::ClientConnection::Owner, http::ClientStream::Handler {
 public:
  AnswerReader() : client_(http::MakeHttp1Client(context_, MakePeer(), *this, {})) {
    Arena arena;
    http::RequestHead head(arena);
    head.method = kAsked == kAskHead ? "HEAD" : "GET";
    head.authority = "a";
    head.path = "/";
    if (kAsked == kAskUpgrade) head.upgrade = "websocket";
    FUZZ_CHECK(client_->Open(head, kAsked != kAskUpgrade, *this) != nullptr);
  }
  std::string Finish() {
    SayEnd();
    client_->Abort();
    FUZZ_CHECK(closed_);
    return understood_;
  }

 private:
  void OnCapacityChanged(http::ClientConnection&) override { FUZZ_CHECK(closed_ && client_->CanOpen()); }
  void OnConnectionDown(http::ClientConnection&, StreamEnd, std::string_view) override {}
  void OnInformational(const http::ResponseHead& head) override {
    FUZZ_CHECK(!head_seen_ && head.status < 200);
    Add("info " + std::to_string(head.status));
  }
  void OnHead(http::ResponseHead& head, bool end) override {
    FUZZ_CHECK(!std::exchange(head_seen_, true) && !closed_);
    FUZZ_CHECK(head.status >= 200 || head.upgraded);
    Add(std::to_string(head.status));
    AddFields(head.headers);
    ended_ = end;
  }
  void OnBody(std::span<const uint8_t> bytes, bool end) override {
    FUZZ_CHECK(head_seen_ && !ended_ && !closed_ && kAsked != kAskHead);
    AddBody(bytes);
    ended_ = end;
    if (end) EndBody();
  }
  void OnResponseEnd(const http::HeaderMap* trailers) override {
    FUZZ_CHECK(head_seen_ && !std::exchange(ended_, true) && !closed_);
    EndBody();
    if (trailers != nullptr) AddFields(*trailers);
  }
  void OnStreamWritable() override {}
  void OnStreamClosed(http::StreamError error) override {
    FUZZ_CHECK(!std::exchange(closed_, true));
    FUZZ_CHECK(ended_ || error != http::StreamError::kNone);
    Add("closed " + std::to_string(static_cast<int>(error)));
  }

  bool head_seen_ = false, ended_ = false, closed_ = false;
  std::unique_ptr<http::ClientConnection> client_;
};

// `step` 0: in one read; otherwise in reads of 1 to 8 bytes that it chooses.
template <typename Reader>
std::string Understood(std::span<const uint8_t> bytes, uint8_t step) {
  Reader reader;
  for (unsigned turn = 0; step != 0 && bytes.size() > 8; ++turn) {
    const size_t n = 1 + (step >> (turn % 6) & 7);
    reader.Say(bytes.first(n));
    bytes = bytes.subspan(n);
  }
  if (!bytes.empty()) reader.Say(bytes);
  return reader.Finish();
}

}  // namespace weft::fuzz
