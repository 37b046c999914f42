#include <gtest/gtest.h>
#include <sys/socket.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "http/codec.h"
#include "net/transport.h"
#include "on_loop.h"
#include "test_net.h"

namespace weft::http {
namespace {

// A client and a server connection on a pair of sockets, in one loop.
class PairTest : public testing::TestWithParam<bool>,
                 public ServerConnection::Owner,
                 public ServerStream::Handler,
                 public ClientConnection::Owner,
                 public ClientStream::Handler {
 protected:
  PairTest() : loop_(std::move(*EpollLoop::Create())), context_(*loop_) {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    auto server = MakeTcpStream(context_, UniqueFd(fds[0]), {});
    auto client = MakeTcpStream(context_, UniqueFd(fds[1]), {});
    ByteStream& server_stream = *server;
    ByteStream& client_stream = *client;
    server_ = GetParam() ? MakeHttp2Server(context_, std::move(server), *this, {}, {})
                         : MakeHttp1Server(context_, std::move(server), *this, {}, {});
    client_ = GetParam() ? MakeHttp2Client(context_, std::move(client), *this, {})
                         : MakeHttp1Client(context_, std::move(client), *this, {});
    EXPECT_TRUE(server_stream.Begin().has_value());
    EXPECT_TRUE(client_stream.Begin().has_value());
  }
  // Not in the constructor and destructor: the loop calls what derived classes override.
  void SetUp() override {
    runner_ = std::thread([this] { loop_->Run(); });
  }
  void TearDown() override {
    On([&] {
      server_->Abort();
      client_->Abort();
    });
    loop_->Stop();
    runner_.join();
  }
  // On the loop's thread, where everything of a connection is.
  void On(const std::function<void()>& run) { test::OnLoop(*loop_, run); }
  void RunUntil(const std::function<bool()>& condition) { EXPECT_TRUE(test::EventuallyOnLoop(*loop_, condition)); }

  // Server
  ServerStream::Handler* OnRequest(ServerStream& stream, RequestHead& head, bool end) override {
    request_ = &stream;
    seen_ = std::string(head.method) + " " + std::string(head.authority) + std::string(head.path);
    for (const Header& each : head.headers) seen_ += " " + std::string(each.name) + "=" + std::string(each.value);
    upgrade_ = head.upgrade;
    request_ended_ = end;
    return this;
  }
  void OnBadRequest(uint16_t, std::string_view) override { bad_ = true; }
  void OnConnectionDown(StreamEnd, std::string_view) override { server_down_ = true; }
  void OnRequestEnd(const HeaderMap* trailers) override {
    request_ended_ = true;
    if (trailers != nullptr) trailer_ = std::string(trailers->begin()->value);
  }
  // Both (the shapes are the same)
  void OnBody(std::span<const uint8_t> bytes, bool end) override {
    body_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (end) ended_ = true;
  }
  void OnStreamWritable() override { writable_ = true; }
  void OnStreamClosed(StreamError error) override { closed_.push_back(error); }
  // Client
  void OnInformational(const ResponseHead& head) override { informational_ = head.status; }
  void OnHead(ResponseHead& head, bool end) override {
    status_ = head.status;
    upgraded_ = head.upgraded;
    length_ = head.content_length.has_value();
    if (end) ended_ = true;
  }
  void OnResponseEnd(const HeaderMap* trailers) override {
    ended_ = true;
    if (trailers != nullptr) trailer_ = std::string(trailers->begin()->value);
  }
  void OnCapacityChanged(ClientConnection&) override {}
  void OnConnectionDown(ClientConnection&, StreamEnd, std::string_view) override { client_down_ = true; }

  ClientStream* Get(bool end, const std::string& upgrade = "") {
    Arena arena;
    RequestHead head(arena);
    head.method = end || !upgrade.empty() ? "GET" : "POST";
    head.authority = "a.com";
    head.path = "/p?q";
    head.upgrade = upgrade;
    head.headers.Add("x-a", "1");
    return client_->Open(head, end, *this);
  }
  void Answer(uint16_t status, const std::string& body) {
    Arena arena;
    ResponseHead head(arena);
    head.status = status;
    request_->SendHead(head, body.empty());
    if (!body.empty()) request_->SendBody({reinterpret_cast<const uint8_t*>(body.data()), body.size()}, true);
  }
  static std::span<const uint8_t> Bytes(const std::string& text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
  }

  std::unique_ptr<EpollLoop> loop_;
  LoopContext context_;
  std::thread runner_;
  std::unique_ptr<ServerConnection> server_;
  std::unique_ptr<ClientConnection> client_;
  ServerStream* request_ = nullptr;
  std::string seen_, body_, trailer_, upgrade_;
  bool request_ended_ = false, ended_ = false, bad_ = false, writable_ = false, upgraded_ = false, length_ = false;
  bool server_down_ = false, client_down_ = false;
  uint16_t status_ = 0, informational_ = 0;
  std::vector<StreamError> closed_;
};

TEST_P(PairTest, CarriesARequestAndItsAnswer) {
  On([&] { EXPECT_NE(Get(true), nullptr); });
  RunUntil([&] { return request_ != nullptr; });
  EXPECT_EQ(seen_, "GET a.com/p?q x-a=1");
  EXPECT_TRUE(request_ended_);
  On([&] { Answer(200, "hello"); });
  RunUntil([&] { return closed_.size() == 2; });
  EXPECT_EQ(status_, 200);
  EXPECT_EQ(body_, "hello");
  EXPECT_EQ(closed_, (std::vector<StreamError>{StreamError::kNone, StreamError::kNone}));
  RunUntil([&] { return client_->CanOpen(); });
}

TEST_P(PairTest, CarriesBodiesWithTrailers) {
  On([&] {
    ClientStream* stream = Get(false);
    stream->SendBody(Bytes("question"), false);
    Arena arena;
    HeaderMap trailers(arena);
    trailers.Add("x-sum", "42");
    stream->SendTrailers(trailers);
  });
  RunUntil([&] { return request_ended_; });
  EXPECT_EQ(body_, "question");
  EXPECT_EQ(trailer_, "42");
  On([&] { Answer(204, ""); });
  RunUntil([&] { return closed_.size() == 2; });
  EXPECT_EQ(status_, 204);
}

TEST_P(PairTest, AnAnswerWithoutContentHasNoLength) {
  On([&] { EXPECT_NE(Get(true), nullptr); });
  RunUntil([&] { return request_ != nullptr; });
  On([&] {
    Arena arena;
    ResponseHead head(arena);
    head.status = 204;
    head.content_length = 5;
    head.headers.Add("content-length", "5");
    request_->SendHead(head, true);
  });
  RunUntil([&] { return closed_.size() == 2; });
  EXPECT_EQ(status_, 204);
  EXPECT_FALSE(length_);
  EXPECT_EQ(closed_, (std::vector<StreamError>{StreamError::kNone, StreamError::kNone}));
}

TEST_P(PairTest, ALargeBodyWaitsForRoom) {
  ClientStream* stream = nullptr;
  On([&] { stream = Get(false); });
  const std::string block(64 * 1024, 'x');
  size_t sent = 0;
  const size_t total = 32 * 1024 * 1024;
  RunUntil([&] {
    while (sent < total && stream->WriteRoom() > 0) {
      const size_t n = std::min(block.size(), std::min(stream->WriteRoom(), total - sent));
      sent += n;
      stream->SendBody(Bytes(block).first(n), sent == total);
    }
    return ended_ || request_ended_;
  });
  EXPECT_EQ(body_.size(), total);
  EXPECT_LT(context_.buffers.in_use(), size_t{4} * 1024 * 1024);
}

TEST_P(PairTest, AResetReachesTheOtherSide) {
  On([&] { Get(true); });
  RunUntil([&] { return request_ != nullptr; });
  On([&] { request_->Reset(StreamError::kLocal); });
  RunUntil([&] { return !closed_.empty(); });
  EXPECT_NE(closed_[0], StreamError::kNone);
}

TEST_P(PairTest, AnUpgradeBecomesATunnel) {
  ClientStream* stream = nullptr;
  On([&] { stream = Get(false, "websocket"); });
  RunUntil([&] { return request_ != nullptr; });
  EXPECT_EQ(upgrade_, "websocket");
  On([&] {
    Arena arena;
    ResponseHead head(arena);
    head.status = 101;
    head.upgraded = true;
    request_->SendHead(head, false);
  });
  RunUntil([&] { return upgraded_; });
  On([&] { stream->SendBody(Bytes("ping"), false); });
  RunUntil([&] { return body_ == "ping"; });
  On([&] { request_->SendBody(Bytes("pong"), false); });
  RunUntil([&] { return body_ == "pingpong"; });
}

INSTANTIATE_TEST_SUITE_P(Http, PairTest, testing::Bool(),
                         [](const auto& each) { return each.param ? "Http2" : "Http1"; });

}  // namespace
}  // namespace weft::http
