#include "l7/http_frontend.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <thread>

#include "fake_http.h"
#include "l7.pb.h"
#include "l7/program_compiler.h"
#include "net/transport.h"
#include "on_loop.h"
#include "test_net.h"

namespace weft::l7 {
namespace {

// The engine with its codecs: bytes of a client on one side, bytes of a server on the other.
class HttpFrontendTest : public testing::Test,
                         private RecordSink,
                         private HttpFrontend::Owner,
                         private http::ClientConnection::Owner {
 protected:
  HttpFrontendTest() : loop_(std::move(*EpollLoop::Create())), context_(*loop_) {
    RecordSink& records = *this;
    services_ = std::make_unique<LoopServices>(context_, clusters_, records, hooks_);
    HttpRoutes routes;
    VirtualHost* const host = routes.add_hosts();
    host->add_domains("*");
    host->add_routes()->mutable_forward()->add_clusters()->set_cluster("a");
    auto chain = std::make_shared<ChainProgram>();
    chain->settings = std::make_shared<SettingsProgram>();
    chain->http = *CompileHttp(routes, {});
    handle_.Set(std::move(chain));
    clusters_["a"].connect = [this](upstream::PoolWaiter& waiter) {
      if (upstream_ != nullptr && upstream_->CanOpen()) return waiter.OnConnection(*upstream_);
      waiter.OnPoolFailure(upstream::PoolFailure::kConnectFailure, "none");
    };
    client_ = Pair([&](std::unique_ptr<ByteStream> stream) {
      HttpFrontend::Owner& owner = *this;
      frontend_ = std::make_unique<HttpFrontend>(*services_, std::move(stream), handle_, HttpFrontend::Version::kHttp1,
                                                 std::span<const uint8_t>(), owner);
    });
    Reconnect();
  }
  // Not in the constructor and destructor: the loop calls what derived classes override.
  void SetUp() override {
    runner_ = std::thread([this] { loop_->Run(); });
  }
  void TearDown() override {
    On([&] {
      if (frontend_ != nullptr) frontend_->Abort();
      if (upstream_ != nullptr) upstream_->Abort();
    });
    loop_->Stop();
    runner_.join();
    frontend_.reset();
    services_.reset();
    upstream_.reset();
  }
  template <typename Take>
  UniqueFd Pair(Take take) {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    timeval patience{.tv_sec = test::kPatience.count(), .tv_usec = 0};
    setsockopt(fds[1], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    EXPECT_EQ(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    auto stream = MakeTcpStream(context_, UniqueFd(fds[0]), test::At("10.1.2.3", 1));
    ByteStream& begun = *stream;
    take(std::move(stream));
    EXPECT_TRUE(begun.Begin().has_value());
    return UniqueFd(fds[1]);
  }
  // A new connection to the server.
  void Reconnect() {
    server_ = Pair([&](std::unique_ptr<ByteStream> stream) {
      http::ClientConnection::Owner& owner = *this;
      upstream_ = http::MakeHttp1Client(context_, std::move(stream), owner, {});
    });
  }
  void On(const std::function<void()>& run) { test::OnLoop(*loop_, run); }
  static std::string ReadUntil(const UniqueFd& fd, const std::string& end) {
    std::string text;
    char byte;
    while (!text.ends_with(end) && recv(fd.get(), &byte, 1, 0) == 1) text += byte;
    return text;
  }
  void AwaitRecords(size_t n) {
    EXPECT_TRUE(test::EventuallyOnLoop(*loop_, [&] { return flags_.size() >= n; }));
  }

  void OnRecord(const RequestRecord& record) override { flags_.push_back(record.flags.Text()); }
  void OnTcpOpened(const RequestRecord&) override {}
  void OnTcpProgress(const RequestRecord&, uint64_t, uint64_t) override {}
  void OnFrontendDown(HttpFrontend&, StreamEnd, std::string_view) override {
    down_ = true;
    loop_->Retire(std::move(frontend_));
  }
  void OnCapacityChanged(http::ClientConnection&) override {}
  void OnConnectionDown(http::ClientConnection&, StreamEnd, std::string_view) override {
    loop_->Retire(std::move(upstream_));
  }

  std::unique_ptr<EpollLoop> loop_;
  LoopContext context_;
  test::FakeClusters clusters_;
  telemetry::Hooks hooks_;
  std::unique_ptr<LoopServices> services_;
  ChainHandle handle_{"a"};
  std::unique_ptr<HttpFrontend> frontend_;
  std::unique_ptr<http::ClientConnection> upstream_;
  UniqueFd client_, server_;
  std::vector<std::string> flags_;
  bool down_ = false;
  std::thread runner_;
};

TEST_F(HttpFrontendTest, KeepsBothConnectionsAlive) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(test::SendAll(client_, "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody"));
    const std::string asked = ReadUntil(server_, "body");
    EXPECT_TRUE(asked.starts_with("POST /x HTTP/1.1\r\nhost: a\r\n")) << asked;
    ASSERT_TRUE(test::SendAll(server_, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"));
    const std::string answer = ReadUntil(client_, "hello");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
    EXPECT_NE(answer.find("server: istio-envoy\r\n"), std::string::npos);
  }
  AwaitRecords(3);
}

TEST_F(HttpFrontendTest, AnswersPipelinedRequestsInOrder) {
  ASSERT_TRUE(test::SendAll(client_, "GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n"));
  for (const char* path : {"/1", "/2"}) {
    EXPECT_TRUE(ReadUntil(server_, "\r\n\r\n").starts_with(std::string("GET ") + path));
    ASSERT_TRUE(test::SendAll(server_, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + std::string(path)));
  }
  EXPECT_TRUE(ReadUntil(client_, "/1").ends_with("/1"));
  EXPECT_TRUE(ReadUntil(client_, "/2").ends_with("/2"));
}

TEST_F(HttpFrontendTest, AnswersItselfAndGoesOn) {
  On([&] { clusters_["a"].endpoints.clear(); });
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(test::SendAll(client_, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
    EXPECT_TRUE(ReadUntil(client_, "no healthy upstream").starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
  }
  AwaitRecords(2);
  EXPECT_EQ(flags_, (std::vector<std::string>{"UH", "UH"}));
}

TEST_F(HttpFrontendTest, CarriesAWebsocketAsBytes) {
  ASSERT_TRUE(
      test::SendAll(client_, "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"));
  EXPECT_NE(ReadUntil(server_, "\r\n\r\n").find("upgrade: websocket"), std::string::npos);
  ASSERT_TRUE(test::SendAll(server_,
                            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhi"));
  EXPECT_TRUE(ReadUntil(client_, "hi").starts_with("HTTP/1.1 101 "));
  ASSERT_TRUE(test::SendAll(client_, "there"));
  EXPECT_EQ(ReadUntil(server_, "there"), "there");
  client_.Reset();
  AwaitRecords(1);
}

TEST_F(HttpFrontendTest, CutsTheConnectionOfAnAnswerThatIsCut) {
  ASSERT_TRUE(test::SendAll(client_, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
  ReadUntil(server_, "\r\n\r\n");
  ASSERT_TRUE(test::SendAll(server_, "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"));
  ReadUntil(client_, "half");
  server_.Reset();
  EXPECT_EQ(test::ReadToEnd(client_), "");
  AwaitRecords(1);
  EXPECT_EQ(flags_, std::vector<std::string>{"UC"});
  EXPECT_TRUE(test::Eventually([&] {
    bool down = false;
    On([&] { down = down_; });
    return down;
  }));
}

TEST_F(HttpFrontendTest, RecordsMessagesThatAreNone) {
  ASSERT_TRUE(test::SendAll(client_, "NONSENSE\r\n\r\n"));
  EXPECT_TRUE(test::ReadToEnd(client_).starts_with("HTTP/1.1 400 "));
  AwaitRecords(1);
  EXPECT_EQ(flags_, std::vector<std::string>{"DPE"});
}

TEST_F(HttpFrontendTest, LetsOpenRequestsEndWhenItDrains) {
  ASSERT_TRUE(test::SendAll(client_, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
  ReadUntil(server_, "\r\n\r\n");
  On([&] { frontend_->Drain(); });
  ASSERT_TRUE(test::SendAll(server_, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
  const std::string answer = test::ReadToEnd(client_);
  EXPECT_TRUE(answer.ends_with("ok"));
  EXPECT_NE(answer.find("connection: close"), std::string::npos);
}

TEST_F(HttpFrontendTest, MovesManyBytesBothWaysInBoundedMemory) {
  constexpr size_t kBytes = 32 << 20;
  ASSERT_TRUE(
      test::SendAll(client_, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: " + std::to_string(kBytes) + "\r\n\r\n"));
  ReadUntil(server_, "\r\n\r\n");
  std::thread sender([&] { EXPECT_TRUE(test::SendAll(client_, std::string(kBytes, 'u'))); });
  EXPECT_EQ(test::ReadN(server_, kBytes).size(), kBytes);
  sender.join();
  size_t held = 0;
  On([&] { held = context_.buffers.in_use(); });
  EXPECT_LT(held, 4u << 20);
  std::thread answerer([&] {
    EXPECT_TRUE(test::SendAll(server_, "HTTP/1.1 200 OK\r\ncontent-length: " + std::to_string(kBytes) + "\r\n\r\n" +
                                           std::string(kBytes, 'd')));
  });
  ReadUntil(client_, "\r\n\r\n");
  // A client that does not read yet holds the server back, not our memory.
  On([&] { held = context_.buffers.in_use(); });
  EXPECT_LT(held, 4u << 20);
  EXPECT_EQ(test::ReadN(client_, kBytes).size(), kBytes);
  answerer.join();
}

}  // namespace
}  // namespace weft::l7
