// Pools and what bounds them, against servers on loopback.
#include "upstream/http_pool.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "clusters_fixture.h"

namespace weft::upstream {
namespace {

using test::Accept;
using test::At;
using test::Caller;
using test::Listen;
using test::PortOf;
using test::ReadToEnd;

class HttpPoolTest : public test::ClustersTest {};

TEST_F(HttpPoolTest, UsesTheConnectionAgainThatWasUsedLast) {
  Publish({}, {address_});
  Caller& first = Ask();
  Caller& second = Ask();
  const UniqueFd a = Accept(server_), b = Accept(server_);
  EXPECT_EQ(ReadHead(a).substr(0, 16), "GET / HTTP/1.1\r\n");
  ReadHead(b);
  // Which connection serves whom is not said: the one that ends last is `last`.
  Answer(a, "a");
  Until([&] { return first.done() || second.done(); });
  Answer(b, "b");
  AwaitDone(first);
  AwaitDone(second);
  EXPECT_EQ(first.status, 200);
  Caller& third = Ask();
  EXPECT_NE(ReadHead(b), "");
  Answer(b, "again");
  AwaitDone(third);
  EXPECT_EQ(third.body, "again");
  EXPECT_EQ(Connections(), 2u);
}

TEST_F(HttpPoolTest, AConnectionCarriesNoMoreRequestsThanItMay) {
  l7::Cluster cluster;
  cluster.mutable_pool()->set_max_requests_per_connection(2);
  Publish(cluster, {address_});
  for (int connection = 0; connection < 2; ++connection) {
    UniqueFd fd;
    for (int i = 0; i < 2; ++i) {
      Caller& caller = Ask();
      if (i == 0) fd = Accept(server_);
      ReadHead(fd);
      Answer(fd);
      AwaitDone(caller);
      EXPECT_EQ(caller.status, 200);
    }
    EXPECT_EQ(ReadToEnd(fd), "");
  }
}

TEST_F(HttpPoolTest, WhoFindsNoConnectionWaitsForOneAsLongAsThereIsRoom) {
  l7::Cluster cluster;
  cluster.mutable_pool()->set_max_connections(1);
  cluster.mutable_pool()->set_max_pending_requests(1);
  Publish(cluster, {address_});
  Caller& first = Ask();
  const UniqueFd fd = Accept(server_);
  ReadHead(fd);
  Caller& second = Ask();
  Caller& third = Ask();
  EXPECT_EQ(third.failure, PoolFailure::kOverflow);
  EXPECT_FALSE(second.done());
  // Who gives up leaves room.
  On([&] { second.GiveUp(); });
  Caller& fourth = Ask();
  EXPECT_FALSE(fourth.done());
  Answer(fd);
  AwaitDone(first);
  ReadHead(fd);
  Answer(fd, "for the fourth");
  AwaitDone(fourth);
  EXPECT_EQ(fourth.body, "for the fourth");
  EXPECT_FALSE(second.done());
}

TEST_F(HttpPoolTest, AnEndpointWithoutAConnectionMayHaveOneBeyondTheLimit) {
  const UniqueFd other = Listen(At("127.0.0.1", 0));
  l7::Cluster cluster;
  cluster.mutable_pool()->set_max_connections(1);
  cluster.mutable_load_balancer()->set_algorithm(l7::LoadBalancer::ROUND_ROBIN);
  Publish(cluster, {address_, At("127.0.0.1", PortOf(other))});
  Ask();
  Ask();
  EXPECT_NE(ReadHead(Accept(server_)), "");
  EXPECT_NE(ReadHead(Accept(other)), "");
}

TEST_F(HttpPoolTest, NoMoreRequestsRunThanMay) {
  l7::Cluster cluster;
  cluster.mutable_pool()->set_max_requests(1);
  Publish(cluster, {address_});
  Caller& first = Ask();
  On([&] { EXPECT_FALSE(Caller(clusters_->Find("c")).Ask()); });
  const UniqueFd fd = Accept(server_);
  ReadHead(fd);
  Answer(fd);
  AwaitDone(first);
  EXPECT_FALSE(Ask().done());
}

TEST_F(HttpPoolTest, RetriesAreBoundedByTheirNumberOrByTheirShareOfTheRequests) {
  l7::Cluster cluster;
  cluster.mutable_pool()->set_max_retries(1);
  Publish(cluster, {address_});
  On([&] {
    const auto found = clusters_->Find("c");
    EXPECT_TRUE(found->MayRetry());
    EXPECT_FALSE(found->MayRetry());
    found->RetryEnded();
    EXPECT_TRUE(found->MayRetry());
    found->RetryEnded();
  });
  cluster.mutable_pool()->mutable_retry_budget()->set_percent_ppm(200'000);
  cluster.mutable_pool()->mutable_retry_budget()->set_min_concurrency(1);
  Publish(cluster, {address_});
  On([&] {
    const auto found = clusters_->Find("c");
    std::vector<std::unique_ptr<Attempt>> running;
    for (int i = 0; i < 10; ++i) running.push_back(found->Begin(found->Pick({})));
    EXPECT_TRUE(found->MayRetry());
    EXPECT_TRUE(found->MayRetry());
    EXPECT_FALSE(found->MayRetry());
    running.clear();
    found->RetryEnded();
    EXPECT_FALSE(found->MayRetry());
    found->RetryEnded();
    EXPECT_TRUE(found->MayRetry());
    found->RetryEnded();
  });
}

TEST_F(HttpPoolTest, SaysWhyNobodyCouldBeReached) {
  const uint16_t port = PortOf(Listen(At("127.0.0.1", 0)));
  Publish({}, {At("127.0.0.1", port)});
  Caller& caller = Ask();
  AwaitDone(caller);
  EXPECT_EQ(caller.failure, PoolFailure::kConnectFailure);
  EXPECT_EQ(caller.detail, "Connection refused");
}

TEST_F(HttpPoolTest, AnIdleConnectionThatItsServerClosedIsNotUsed) {
  Publish({}, {address_});
  Caller& first = Ask();
  UniqueFd fd = Accept(server_);
  ReadHead(fd);
  Answer(fd);
  AwaitDone(first);
  fd.Reset();
  EXPECT_TRUE(test::Eventually([&] { return Connections() == 0; }));
  Caller& second = Ask();
  fd = Accept(server_);
  ReadHead(fd);
  Answer(fd);
  AwaitDone(second);
  EXPECT_EQ(second.status, 200);
}

TEST_F(HttpPoolTest, AnIdleConnectionEndsWhenItsTimeIsOver) {
  l7::Cluster cluster;
  cluster.mutable_pool()->set_http_idle_ms(20);
  Publish(cluster, {address_});
  Caller& caller = Ask();
  const UniqueFd fd = Accept(server_);
  ReadHead(fd);
  Answer(fd);
  AwaitDone(caller);
  EXPECT_EQ(ReadToEnd(fd), "");
  // And one whose asker has gone before it was up.
  On([&] {
    Caller gone(clusters_->Find("c"));
    EXPECT_TRUE(gone.Ask());
  });
  EXPECT_EQ(ReadToEnd(Accept(server_)), "");
}

TEST_F(HttpPoolTest, AnEndpointThatLeavesEndsWhatItHas) {
  const UniqueFd other = Listen(At("127.0.0.1", 0));
  Publish({}, {address_});
  Caller& first = Ask();
  const UniqueFd fd = Accept(server_);
  ReadHead(fd);
  Publish({}, {At("127.0.0.1", PortOf(other))});
  Ask();
  EXPECT_NE(ReadHead(Accept(other)), "");
  // The end of the request is the end of the last one who knows the endpoint, within a call of its pool.
  Answer(fd);
  AwaitDone(first);
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(ReadToEnd(fd), "");
}

TEST_F(HttpPoolTest, WhoWaitsWhenTheEndpointLeavesIsServed) {
  l7::Cluster cluster;
  cluster.mutable_pool()->set_max_connections(1);
  Publish(cluster, {address_});
  Caller& first = Ask();
  const UniqueFd a = Accept(server_);
  ReadHead(a);
  Caller& second = Ask();
  On([&] { clusters_->Drain(); });
  Answer(a);
  AwaitDone(first);
  const UniqueFd b = Accept(server_);
  ReadHead(b);
  Answer(b, "late");
  AwaitDone(second);
  EXPECT_EQ(second.body, "late");
}

TEST_F(HttpPoolTest, EndpointsThatStayKeepTheirConnections) {
  Publish({}, {address_});
  Caller& first = Ask();
  const UniqueFd fd = Accept(server_);
  ReadHead(fd);
  Answer(fd);
  AwaitDone(first);
  l7::Cluster changed;
  changed.mutable_pool()->set_max_requests(7);
  Publish(changed, {At("127.0.0.1", 1), address_});
  Publish(changed, {address_});
  Caller& second = Ask();
  ReadHead(fd);
  Answer(fd, "same");
  AwaitDone(second);
  EXPECT_EQ(second.body, "same");
}

TEST_F(HttpPoolTest, AClusterThatIsMadeAnewCountsAnew) {
  l7::Cluster cluster;
  cluster.mutable_pool()->set_max_requests(1);
  cluster.mutable_pool()->set_max_retries(1);
  Publish(cluster, {address_});
  const std::shared_ptr<Cluster> old = this->cluster();
  Caller& first = Ask();
  On([&] { EXPECT_TRUE(old->MayRetry()); });
  const UniqueFd fd = Accept(server_);
  ReadHead(fd);
  // The loop sees both at once.
  catalog_->RemoveCluster("c");
  Publish(cluster, {address_});
  EXPECT_NE(this->cluster(), old);
  On([&] { old->RetryEnded(); });
  Answer(fd);
  AwaitDone(first);
  Caller& second = Ask();
  EXPECT_FALSE(second.done());
  On([&] {
    const auto found = clusters_->Find("c");
    EXPECT_EQ(found->Begin(found->Pick({})), nullptr);
    EXPECT_TRUE(found->MayRetry());
    found->RetryEnded();
  });
}

TEST_F(HttpPoolTest, BadAnswersEjectAnEndpoint) {
  l7::Cluster cluster;
  cluster.mutable_outlier()->set_consecutive_5xx(2);
  cluster.mutable_outlier()->set_max_ejection_percent(100);
  Publish(cluster, {address_});
  On([&] {
    const auto found = clusters_->Find("c");
    for (int i = 0; i < 2; ++i) {
      EndpointRef endpoint = found->Pick({});
      ASSERT_NE(endpoint, nullptr);
      found->Begin(endpoint)->Report({.status = 503, .local_origin = false});
    }
    EXPECT_EQ(found->Pick({}), nullptr);
    EXPECT_TRUE(clusters_->Stats().at(0).endpoints.at(0).ejected);
  });
  // Endpoints that come in between change nothing about it.
  PublishEndpoints(EndpointsAt({address_, At("127.0.0.1", 1)}));
  On([&] {
    const auto found = clusters_->Find("c");
    for (int i = 0; i < 20; ++i) EXPECT_EQ(found->Pick({})->address_text(), "127.0.0.1:1");
  });
}

TEST_F(HttpPoolTest, ASessionStaysWithItsEndpoint) {
  l7::Cluster cluster;
  cluster.mutable_load_balancer()->mutable_session()->set_header("x-session");
  Publish(cluster, {At("127.0.0.1", 1), At("127.0.0.1", 2), At("127.0.0.1", 3)});
  On([&] {
    const auto found = clusters_->Find("c");
    Arena arena;
    http::RequestHead head(arena);
    AnswerField answer;
    PickContext context;
    context.request = &head;
    context.answer = &answer;
    const EndpointRef first = found->Pick(context);
    EXPECT_EQ(answer.name, "x-session");
    head.headers.Add("x-session", answer.value);
    answer.value.clear();
    for (int i = 0; i < 20; ++i) EXPECT_EQ(found->Pick(context), first);
    EXPECT_EQ(answer.value, "");
    // A retry elsewhere moves the session.
    const EndpointRef tried[] = {first};
    context.tried = tried;
    EXPECT_NE(found->Pick(context), first);
    EXPECT_NE(answer.value, "");
  });
}

TEST_F(HttpPoolTest, AnOriginalDestinationIsAskedWithoutBeingKnown) {
  l7::Cluster cluster;
  cluster.set_discovery(l7::Cluster::ORIGINAL_DST);
  Publish(cluster, {});
  On([&] {
    callers_.push_back(std::make_unique<Caller>(clusters_->Find("c")));
    PickContext context;
    EXPECT_FALSE(callers_.back()->Ask(context));
    context.original_destination = address_;
    EXPECT_TRUE(callers_.back()->Ask(context));
  });
  const UniqueFd fd = Accept(server_);
  ReadHead(fd);
  catalog_->RemoveCluster("c");
  On([&] { clusters_->Publish(catalog_->snapshot()); });
  Answer(fd);
  AwaitDone(*callers_.back());
  EXPECT_EQ(ReadToEnd(fd), "");
}

// ---- HTTP/2
// -----------------------------------------------------------------------------------------------------------

// A server that answers when it is told to.
class Http2Server final : public http::ServerConnection::Owner, public http::ServerStream::Handler {
 public:
  Http2Server(LoopContext& context, UniqueFd fd) : loop_(context.loop) {
    fcntl(fd.get(), F_SETFL, O_NONBLOCK);
    auto stream = MakeTcpStream(context, std::move(fd), {});
    ByteStream& below = *stream;
    connection_ = http::MakeHttp2Server(context, std::move(stream), *this, {}, {});
    EXPECT_TRUE(below.Begin());
  }
  ~Http2Server() {
    connection_->Abort();
    loop_.Retire(std::move(connection_));
  }
  void AnswerAll() {
    for (http::ServerStream* each : std::exchange(requests, {})) {
      Arena arena;
      http::ResponseHead head(arena);
      head.status = 200;
      each->SendHead(head, true);
    }
  }
  void Drain() { connection_->Drain(); }
  std::vector<http::ServerStream*> requests;

 private:
  http::ServerStream::Handler* OnRequest(http::ServerStream& stream, http::RequestHead&, bool) override {
    requests.push_back(&stream);
    return this;
  }
  void OnBadRequest(uint16_t, std::string_view) override {}
  void OnConnectionDown(StreamEnd, std::string_view) override {}
  void OnBody(std::span<const uint8_t>, bool) override {}
  void OnRequestEnd(const http::HeaderMap*) override {}
  void OnStreamWritable() override {}
  void OnStreamClosed(http::StreamError) override {}

  EpollLoop& loop_;
  std::unique_ptr<http::ServerConnection> connection_;
};

class Http2PoolTest : public HttpPoolTest {
 protected:
  Http2Server& Serve() {
    UniqueFd fd = Accept(server_);
    On([&] { servers_.push_back(std::make_unique<Http2Server>(thread_.context(), std::move(fd))); });
    return *servers_.back();
  }
  void TearDown() override {
    On([&] { servers_.clear(); });
    HttpPoolTest::TearDown();
  }
  std::vector<std::unique_ptr<Http2Server>> servers_;
};

TEST_F(Http2PoolTest, SharesAConnectionUntilItIsFull) {
  l7::Cluster cluster;
  cluster.set_http_protocol(l7::Cluster::HTTP2);
  cluster.mutable_pool()->set_max_concurrent_streams(2);
  Publish(cluster, {address_});
  for (int i = 0; i < 3; ++i) Ask();
  Http2Server& first = Serve();
  Until([&] { return first.requests.size() == 2; });
  Http2Server& second = Serve();
  Until([&] { return second.requests.size() == 1; });
  On([&] {
    first.AnswerAll();
    second.AnswerAll();
  });
  for (auto& each : callers_) AwaitDone(*each);
  EXPECT_EQ(callers_[2]->status, 200);
  EXPECT_EQ(Connections(), 2u);
}

TEST_F(Http2PoolTest, SpeaksWhatTheClientSpeaksWhereThatIsWanted) {
  l7::Cluster cluster;
  cluster.set_http_protocol(l7::Cluster::DOWNSTREAM);
  Publish(cluster, {address_});
  Caller& by_http1 = Ask(http::Protocol::kHttp11);
  const UniqueFd fd = Accept(server_);
  ReadHead(fd);
  Answer(fd);
  AwaitDone(by_http1);
  Caller& by_http2 = Ask(http::Protocol::kHttp2);
  Http2Server& server = Serve();
  Until([&] { return server.requests.size() == 1; });
  On([&] { server.AnswerAll(); });
  AwaitDone(by_http2);
  EXPECT_EQ(by_http2.status, 200);
}

TEST_F(Http2PoolTest, AServerThatGoesAwayGetsNoMoreRequests) {
  l7::Cluster cluster;
  cluster.set_http_protocol(l7::Cluster::HTTP2);
  Publish(cluster, {address_});
  Caller& first = Ask();
  Http2Server& server = Serve();
  Until([&] { return server.requests.size() == 1; });
  On([&] {
    server.AnswerAll();
    server.Drain();
  });
  AwaitDone(first);
  EXPECT_TRUE(test::Eventually([&] { return Connections() == 0; }));
  Caller& second = Ask();
  Http2Server& next = Serve();
  Until([&] { return next.requests.size() == 1; });
  On([&] { next.AnswerAll(); });
  AwaitDone(second);
  EXPECT_EQ(second.status, 200);
}

}  // namespace
}  // namespace weft::upstream
