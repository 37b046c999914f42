#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <thread>

#include "fake_http.h"
#include "l7.pb.h"
#include "l7/http_frontend.h"
#include "l7/program_compiler.h"
#include "net/transport.h"
#include "on_loop.h"
#include "test_net.h"

namespace weft::l7 {
namespace {

// One request of a client that speaks HTTP/2.
struct Call final : http::ClientStream::Handler {
  void OnInformational(const http::ResponseHead&) override {}
  void OnHead(http::ResponseHead& head, bool) override {
    status = head.status;
    upgraded = head.upgraded;
    fields = test::FieldsOf(head.headers);
  }
  void OnBody(std::span<const uint8_t> bytes, bool) override {
    body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void OnResponseEnd(const http::HeaderMap* sent) override {
    if (sent != nullptr) trailers = test::FieldsOf(*sent);
  }
  void OnStreamWritable() override {}
  void OnStreamClosed(http::StreamError error) override {
    closed = true;
    end = error;
  }

  http::ClientStream* stream = nullptr;
  uint16_t status = 0;
  bool upgraded = false, closed = false;
  http::StreamError end = http::StreamError::kNone;
  test::Fields fields, trailers;
  std::string body;
};

// The engine behind an HTTP/2 connection, before clusters that say what they are told.
class Http2FrontendTest : public testing::Test,
                          private RecordSink,
                          private HttpFrontend::Owner,
                          private http::ClientConnection::Owner {
 protected:
  Http2FrontendTest() : loop_(std::move(*EpollLoop::Create())), context_(*loop_) {
    RecordSink& records = *this;
    services_ = std::make_unique<LoopServices>(context_, clusters_, records, hooks_);
    HttpRoutes routes;
    VirtualHost* const host = routes.add_hosts();
    host->add_domains("*");
    Route* const refused = host->add_routes();
    refused->mutable_match()->mutable_path()->set_exact("/direct");
    refused->mutable_direct()->set_status(403);
    refused->mutable_direct()->set_body("no");
    host->add_routes()->mutable_forward()->add_clusters()->set_cluster("a");
    auto chain = std::make_shared<ChainProgram>();
    chain->settings = std::make_shared<SettingsProgram>();
    chain->http = *CompileHttp(routes, {});
    handle_.Set(std::move(chain));
    clusters_["a"];
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    auto server = MakeTcpStream(context_, UniqueFd(fds[0]), test::At("10.1.2.3", 1));
    auto client = MakeTcpStream(context_, UniqueFd(fds[1]), {});
    ByteStream& server_stream = *server;
    ByteStream& client_stream = *client;
    HttpFrontend::Owner& owner = *this;
    frontend_ = std::make_unique<HttpFrontend>(*services_, std::move(server), handle_, HttpFrontend::Version::kHttp2,
                                               std::span<const uint8_t>(), owner);
    http::ClientConnection::Owner& client_owner = *this;
    client_ = http::MakeHttp2Client(context_, std::move(client), client_owner, {});
    EXPECT_TRUE(server_stream.Begin().has_value());
    EXPECT_TRUE(client_stream.Begin().has_value());
  }
  // Not in the constructor and destructor: the loop calls what derived classes override.
  void SetUp() override {
    runner_ = std::thread([this] { loop_->Run(); });
  }
  void TearDown() override {
    On([&] {
      if (client_ != nullptr) client_->Abort();
      if (frontend_ != nullptr) frontend_->Abort();
    });
    loop_->Stop();
    runner_.join();
    frontend_.reset();
    client_.reset();
    services_.reset();
  }
  void On(const std::function<void()>& run) { test::OnLoop(*loop_, run); }
  void Await(const std::function<bool()>& condition) { EXPECT_TRUE(test::EventuallyOnLoop(*loop_, condition)); }
  Call& Open(const std::string& path, bool end, const test::Fields& fields = {}, const std::string& upgrade = "") {
    Call& call = *calls_.emplace_back(std::make_unique<Call>());
    On([&] {
      Arena arena;
      http::RequestHead head(arena);
      head.protocol = http::Protocol::kHttp2;
      head.method = end || !upgrade.empty() ? "GET" : "POST";
      head.scheme = "http";
      head.authority = "a";
      head.path = path;
      head.upgrade = upgrade;
      for (const auto& [name, value] : fields) head.headers.Add(name, value);
      call.stream = client_->Open(head, end, call);
    });
    EXPECT_NE(call.stream, nullptr);
    return call;
  }
  test::FakeClientStream& Asked(size_t i) {
    Await([&] { return clusters_["a"].requests() > i; });
    return clusters_["a"].stream(i);
  }

  void OnRecord(const RequestRecord& record) override { flags_.push_back(record.flags.Text()); }
  void OnTcpOpened(const RequestRecord&) override {}
  void OnTcpProgress(const RequestRecord&, uint64_t, uint64_t) override {}
  void OnFrontendDown(HttpFrontend&, StreamEnd, std::string_view) override { loop_->Retire(std::move(frontend_)); }
  void OnCapacityChanged(http::ClientConnection&) override {}
  void OnConnectionDown(http::ClientConnection&, StreamEnd, std::string_view) override {
    loop_->Retire(std::move(client_));
  }

  std::unique_ptr<EpollLoop> loop_;
  LoopContext context_;
  test::FakeClusters clusters_;
  telemetry::Hooks hooks_;
  std::unique_ptr<LoopServices> services_;
  ChainHandle handle_{"a"};
  std::unique_ptr<HttpFrontend> frontend_;
  std::unique_ptr<http::ClientConnection> client_;
  std::vector<std::unique_ptr<Call>> calls_;
  std::vector<std::string> flags_;
  std::thread runner_;
};

TEST_F(Http2FrontendTest, AnswersManyStreamsInAnyOrder) {
  constexpr size_t kStreams = 50;
  for (size_t i = 0; i < kStreams; ++i) Open("/" + std::to_string(i), true);
  Asked(kStreams - 1);
  On([&] {
    for (size_t i = kStreams; i-- > 0;) {
      test::FakeClientStream& upstream = clusters_["a"].stream(i);
      upstream.Head(200, {}, false);
      upstream.Body(upstream.path, true);
    }
  });
  Await([&] { return flags_.size() == kStreams; });
  for (size_t i = 0; i < kStreams; ++i) {
    Await([&] { return calls_[i]->closed; });
    EXPECT_EQ(calls_[i]->body, "/" + std::to_string(i));
  }
}

TEST_F(Http2FrontendTest, CarriesGrpcWithItsTrailers) {
  Call& call = Open("/s/m", false, {{"content-type", "application/grpc"}, {"te", "trailers"}});
  test::FakeClientStream& upstream = Asked(0);
  EXPECT_EQ(test::FieldIn(upstream.fields, "te"), "trailers");
  On([&] { call.stream->SendBody(test::Bytes("ask"), true); });
  Await([&] { return upstream.ended; });
  On([&] {
    upstream.Head(200, {{"content-type", "application/grpc"}}, false);
    upstream.Body("told", false);
    upstream.Trailers({{"grpc-status", "0"}});
  });
  Await([&] { return call.closed; });
  EXPECT_EQ(call.body, "told");
  EXPECT_EQ(test::FieldIn(call.trailers, "grpc-status"), "0");
}

TEST_F(Http2FrontendTest, AnswersBeforeARequestIsWhole) {
  Call& call = Open("/direct", false);
  Await([&] { return call.status == 403 && flags_.size() == 1; });
  Await([&] { return call.body == "no" && call.closed; });
  // The connection is none the worse.
  Call& next = Open("/direct", true);
  Await([&] { return next.closed; });
  EXPECT_EQ(next.status, 403);
}

TEST_F(Http2FrontendTest, TellsAResetOfTheClientFromItsEnd) {
  Call& call = Open("/", true);
  test::FakeClientStream& upstream = Asked(0);
  On([&] { call.stream->Reset(http::StreamError::kLocal); });
  Await([&] { return flags_.size() == 1; });
  EXPECT_EQ(flags_[0], "DR");
  EXPECT_TRUE(upstream.reset);
  Open("/", true);
  Asked(1);
  On([&] { client_->Abort(); });
  Await([&] { return flags_.size() == 2; });
  EXPECT_EQ(flags_[1], "DC");
}

TEST_F(Http2FrontendTest, ResetsAStreamWhoseAnswerIsCut) {
  Call& call = Open("/", true);
  test::FakeClientStream& upstream = Asked(0);
  On([&] {
    upstream.Head(200, {}, false);
    upstream.Body("half", false);
    upstream.Close(http::StreamError::kReset);
  });
  Await([&] { return call.closed; });
  EXPECT_NE(call.end, http::StreamError::kNone);
  EXPECT_EQ(flags_, std::vector<std::string>{"UR"});
}

TEST_F(Http2FrontendTest, TakesWebsocketsToAServerOfTheOtherHttp) {
  Call& call = Open("/chat", false, {}, "websocket");
  test::FakeClientStream& upstream = Asked(0);
  On([&] { upstream.Head(101, {}, false, true); });
  Await([&] { return call.upgraded; });
  On([&] { call.stream->SendBody(test::Bytes("up"), false); });
  Await([&] { return upstream.body == "up"; });
  On([&] { upstream.Body("down", true); });
  Await([&] { return call.body == "down"; });
}

}  // namespace
}  // namespace weft::l7
