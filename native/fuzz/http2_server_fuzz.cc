// An HTTP/2 client that sends whatever it likes, against the server of the L7 engine: every request ends exactly once,
// nothing is heard of one that has, and no more of them are open than was allowed. The input is a list of steps.
#include <map>

#include "fuzz/http2_peer.h"

namespace {

using weft::fuzz::ByteSource;
namespace h2 = weft::h2;
namespace http = weft::http;

constexpr http::ServerLimits kLimits{.max_header_bytes = 1024,
                                     .max_headers = 16,
                                     .header_ms = 60'000,
                                     .idle_ms = 3'600'000,
                                     .max_concurrent_streams = 4,
                                     .stream_window = 65535,
                                     .connection_window = 65535};
// GET http://a/
constexpr uint8_t kGet[] = {0x82, 0x86, 0x84, 0x41, 0x01, 'a'};

class Driver final : public weft::fuzz::Http2Peer, http::ServerConnection::Owner {
 public:
  explicit Driver(ByteSource& source)
      : Http2Peer(source), server_(http::MakeHttp2Server(context_, MakePeer(), *this, kLimits, {})) {
    const std::string_view preface(h2::kPreface, h2::kPrefaceBytes);
    if (source_.Below(16) != 0) peer_->Say(preface);
    if (source_.Below(16) != 0) Say(h2::kSettings, 0, 0, {});
  }

 private:
  struct Request final : http::ServerStream::Handler {
    Request(Driver& owner, http::ServerStream& opened, bool end) : driver(owner), stream(opened), ended(end) {}
    void OnBody(std::span<const uint8_t>, bool end) override {
      FUZZ_CHECK(!ended && !closed);
      ended = end;
    }
    void OnRequestEnd(const http::HeaderMap*) override {
      FUZZ_CHECK(!ended && !closed);
      ended = true;
    }
    void OnStreamWritable() override { FUZZ_CHECK(!closed); }
    void OnStreamClosed(http::StreamError) override {
      FUZZ_CHECK(!closed);
      closed = true;
      FUZZ_CHECK(driver.open_.erase(this) == 1);
    }
    Driver& driver;
    http::ServerStream& stream;
    bool ended, closed = false, answered = false;
  };

  http::ServerStream::Handler* OnRequest(http::ServerStream& stream, http::RequestHead& head, bool end) override {
    FUZZ_CHECK(!ended_ && http::IsAuthority(head.authority) && !head.method.empty());
    auto request = std::make_unique<Request>(*this, stream, end);
    Request* const taken = request.get();
    all_.push_back(std::move(request));
    open_.emplace(taken, true);
    FUZZ_CHECK(open_.size() <= kLimits.max_concurrent_streams);
    return taken;
  }
  void OnBadRequest(uint16_t, std::string_view) override {}
  void OnConnectionDown(weft::StreamEnd, std::string_view) override { ended_ = true; }

  void Step() override {
    const uint32_t stream = source_.Below(16);
    switch (source_.Below(6)) {
      case 0:
        return peer_->Say(source_.Take(source_.Byte()));
      case 1:
        return SayAnyFrame(stream);
      case 2:
        return Say(h2::kHeaders, source_.Bool() ? h2::kEndHeaders : h2::kEndHeaders | h2::kEndStream, stream, kGet);
      case 3:
        return Say(h2::kData, source_.Below(4) == 0 ? h2::kEndStream : 0, stream,
                   std::vector<uint8_t>(source_.Byte() * size_t{64}));
      default:
        return Act();
    }
  }
  void Act() {
    if (open_.empty()) return;
    auto at = open_.begin();
    std::advance(at, source_.Byte() % open_.size());
    Request& request = *at->first;
    switch (source_.Below(6)) {
      case 0: {
        if (request.answered) return;
        request.answered = true;
        weft::Arena arena;
        http::ResponseHead head(arena);
        head.status = 200;
        return request.stream.SendHead(head, source_.Bool());
      }
      case 1: {
        if (!request.answered) return;
        const std::vector<uint8_t> body(source_.Byte() * size_t{64});
        return request.stream.SendBody(body, source_.Bool());
      }
      case 2:
        request.closed = true;
        open_.erase(at);
        return request.stream.Reset(http::StreamError::kLocal);
      case 3:
        return request.stream.PauseBody();
      case 4:
        return request.stream.ResumeBody();
      default:
        return source_.Below(8) == 0 ? server_->Drain() : void();
    }
  }
  void End() override {
    server_->Abort();
    FUZZ_CHECK(open_.empty() && server_->open_streams() == 0);
  }

  std::vector<std::unique_ptr<Request>> all_;
  std::map<Request*, bool> open_;
  bool ended_ = false;
  std::unique_ptr<http::ServerConnection> server_;
};

}  // namespace

WEFT_FUZZ_TARGET("http2-server") {
  ByteSource source(input);
  Driver(source).Run();
}
