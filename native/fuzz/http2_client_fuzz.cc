// An HTTP/2 server that sends whatever it likes, against the client of the L7 engine: every request of ours ends
// exactly once, and its answer comes in order. The input is a list of steps.
#include "fuzz/http2_peer.h"

namespace {

using weft::fuzz::ByteSource;
namespace h2 = weft::h2;
namespace http = weft::http;

// :status: 200, and 103.
constexpr uint8_t kOk[] = {0x88};
constexpr uint8_t kHints[] = {0x08, 0x03, '1', '0', '3'};

class Driver final : public weft::fuzz::Http2Peer, http::ClientConnection::Owner {
 public:
  explicit Driver(ByteSource& source)
      : Http2Peer(source), client_(http::MakeHttp2Client(context_, MakePeer(), *this, {})) {
    if (source_.Below(16) != 0) Say(h2::kSettings, 0, 0, {});
  }

 private:
  struct Request final : http::ClientStream::Handler {
    void OnInformational(const http::ResponseHead& head) override {
      FUZZ_CHECK(!head_seen && !closed && head.status < 200);
    }
    void OnHead(http::ResponseHead& head, bool end) override {
      FUZZ_CHECK(!head_seen && !closed && (head.status >= 200 || head.upgraded));
      head_seen = true;
      ended = end;
    }
    void OnBody(std::span<const uint8_t>, bool end) override {
      FUZZ_CHECK(head_seen && !ended && !closed);
      ended = end;
    }
    void OnResponseEnd(const http::HeaderMap*) override {
      FUZZ_CHECK(head_seen && !ended && !closed);
      ended = true;
    }
    void OnStreamWritable() override { FUZZ_CHECK(!closed); }
    void OnStreamClosed(http::StreamError error) override {
      FUZZ_CHECK(!closed);
      FUZZ_CHECK(ended || error != http::StreamError::kNone);
      closed = true;
    }
    http::ClientStream* stream = nullptr;
    bool head_seen = false, ended = false, closed = false;
  };

  void OnCapacityChanged(http::ClientConnection&) override {}
  void OnConnectionDown(http::ClientConnection&, weft::StreamEnd, std::string_view) override {}

  void Step() override {
    const uint32_t stream = source_.Below(16);
    switch (source_.Below(7)) {
      case 0:
        return peer_->Say(source_.Take(source_.Byte()));
      case 1:
        return SayAnyFrame(stream);
      case 2:
        return Say(h2::kHeaders, source_.Bool() ? h2::kEndHeaders : h2::kEndHeaders | h2::kEndStream, stream, kOk);
      case 3:
        return Say(h2::kHeaders, h2::kEndHeaders, stream, kHints);
      case 4:
        return Say(h2::kData, source_.Below(4) == 0 ? h2::kEndStream : 0, stream,
                   std::vector<uint8_t>(source_.Byte() * size_t{64}));
      case 5:
        return Ask();
      default:
        return Act();
    }
  }
  void Ask() {
    if (!client_->CanOpen() || requests_.size() >= 8) return;
    auto request = std::make_unique<Request>();
    weft::Arena arena;
    http::RequestHead head(arena);
    head.method = "POST";
    head.authority = "a";
    head.path = "/";
    if (source_.Below(4) == 0) head.upgrade = "websocket";
    request->stream = client_->Open(head, head.upgrade.empty() && source_.Bool(), *request);
    if (request->stream != nullptr) requests_.push_back(std::move(request));
  }
  void Act() {
    if (requests_.empty()) return;
    Request& request = *requests_[source_.Byte() % requests_.size()];
    if (request.closed) return;
    switch (source_.Below(4)) {
      case 0: {
        const std::vector<uint8_t> body(source_.Byte() * size_t{64});
        return request.stream->SendBody(body, source_.Bool());
      }
      case 1:
        request.closed = true;
        return request.stream->Reset(http::StreamError::kLocal);
      case 2:
        return request.stream->PauseBody();
      default:
        return request.stream->ResumeBody();
    }
  }
  void End() override {
    client_->Abort();
    for (const auto& each : requests_) FUZZ_CHECK(each->closed);
  }

  std::vector<std::unique_ptr<Request>> requests_;
  std::unique_ptr<http::ClientConnection> client_;
};

}  // namespace

WEFT_FUZZ_TARGET("http2-client") {
  ByteSource source(input);
  Driver(source).Run();
}
