#include "exchange_fixture.h"
#include "l7/mirror_request.h"

// Time limits, retries and mirrors.
namespace weft::l7 {
namespace {

using test::FakeClientStream;
using test::FakeServerStream;
using test::FieldIn;

class RouterTest : public test::ExchangeTest {
 protected:
  // What Istio's default is, with a short back-off.
  RetryPolicy& AddRetries(Route& route, std::vector<RetryOn> on = {CONNECT_FAILURE, REFUSED_STREAM, UNAVAILABLE,
                                                                   CANCELLED, RETRIABLE_STATUS_CODES}) {
    RetryPolicy* const policy = route.mutable_forward()->mutable_retry();
    policy->set_attempts(2);
    policy->set_backoff_base_ms(1);
    for (const RetryOn each : on) policy->add_on(each);
    return *policy;
  }
};

TEST_F(RouterTest, LimitsTheWholeExchange) {
  Route& route = AddRoute();
  route.mutable_forward()->set_timeout_ms(20);
  HeaderValue& header = *route.mutable_response_headers()->add_set();
  header.set_name("x-rule");
  header.set_value("slow");
  Publish();
  FakeServerStream& client = Ask();
  FakeClientStream& upstream = Asked(0);
  AwaitAnswer(client);
  EXPECT_EQ(FieldIn(client.fields, "x-rule"), "slow");
  EXPECT_EQ(client.status, 504);
  EXPECT_EQ(client.body, "upstream request timeout");
  EXPECT_TRUE(upstream.reset);
  EXPECT_EQ(record().flags, "UT");
  EXPECT_EQ(record().details, "response_timeout");
  EXPECT_TRUE(cluster().endpoints[0]->outcomes.at(0).local_origin);
}

TEST_F(RouterTest, CutsAnAnswerThatTakesTooLong) {
  AddRoute().mutable_forward()->set_timeout_ms(20);
  Publish();
  FakeServerStream& client = Ask();
  FakeClientStream& upstream = Asked(0);
  On([&] { upstream.Head(200, {}, false); });
  AwaitAnswer(client);
  EXPECT_TRUE(client.reset);
  EXPECT_TRUE(upstream.reset);
  EXPECT_EQ(record().flags, "UT");
}

TEST_F(RouterTest, TakesTheDeadlineOfAGrpcClientAsFarAsTheRouteAllows) {
  AddRoute("/capped").mutable_forward()->set_timeout_ms(20);
  AddRoute();
  Publish();
  const test::Fields fields{{"content-type", "application/grpc"}, {"grpc-timeout", "10S"}};
  FakeServerStream& capped = Ask({.path = "/capped", .fields = fields});
  EXPECT_EQ(FieldIn(Asked(0).fields, "grpc-timeout"), "20m");
  AwaitAnswer(capped);
  EXPECT_EQ(FieldIn(capped.fields, "grpc-status"), "14");
  FakeServerStream& own = Ask({.fields = {{"content-type", "application/grpc"}, {"grpc-timeout", "15m"}}});
  EXPECT_EQ(FieldIn(Asked(1).fields, "grpc-timeout"), "15m");
  AwaitAnswer(own);
  EXPECT_EQ(FieldIn(own.fields, "grpc-message"), "upstream request timeout");
}

TEST_F(RouterTest, HasNoTimeLimitUnlessTold) {
  AddRoute();
  Publish();
  FakeServerStream& client = Ask();
  AwaitRequests(1);
  EXPECT_FALSE(client.closed);
}

TEST_F(RouterTest, DoesNotRetryA503OfTheApplicationByDefault) {
  AddRetries(AddRoute());
  Publish();
  FakeServerStream& client = Ask();
  FakeClientStream& upstream = Asked(0);
  On([&] { upstream.Head(503, {}, true); });
  EXPECT_EQ(client.status, 503);
  EXPECT_EQ(cluster().requests(), 1u);
  EXPECT_EQ(record().flags, "-");
}

TEST_F(RouterTest, RetriesElsewhereAndCountsAttempts) {
  AddRetries(AddRoute()).set_avoid_previous_hosts(true);
  cluster().endpoints = {std::make_shared<test::FakeEndpoint>("10.0.0.1:80"),
                         std::make_shared<test::FakeEndpoint>("10.0.0.2:80"),
                         std::make_shared<test::FakeEndpoint>("10.0.0.3:80")};
  Publish();
  FakeServerStream& client = Ask({.method = "POST", .end = false});
  On([&] { client.Body("all of it", true); });
  FakeClientStream& first = Asked(0);
  On([&] { first.Close(http::StreamError::kRefused); });
  FakeClientStream& second = Asked(1);
  EXPECT_EQ(second.body, "all of it");
  EXPECT_TRUE(second.ended);
  EXPECT_EQ(FieldIn(second.fields, "x-envoy-attempt-count"), "2");
  EXPECT_EQ(cluster().retries, 1);
  On([&] { second.Head(200, {}, true); });
  EXPECT_EQ(client.status, 200);
  EXPECT_EQ(cluster().picked, (std::vector<std::string>{"10.0.0.1:80", "10.0.0.2:80"}));
  EXPECT_EQ(cluster().retries, 0);
  EXPECT_EQ(record().attempts, 2u);
  EXPECT_EQ(record().endpoint, "10.0.0.2:80");
  EXPECT_EQ(record().flags, "-");
}

TEST_F(RouterTest, GivesTheLastAnswerWhenRetriesAreUsedUp) {
  AddRetries(AddRoute(), {FIVE_XX});
  Publish();
  FakeServerStream& client = Ask();
  for (size_t i = 0; i < 3; ++i) {
    FakeClientStream& upstream = Asked(i);
    On([&] {
      upstream.Head(500 + static_cast<uint16_t>(i), {}, false);
      upstream.Body("sorry", true);
    });
  }
  AwaitAnswer(client);
  EXPECT_EQ(client.status, 502);
  EXPECT_EQ(client.body, "sorry");
  EXPECT_EQ(record().flags, "URX");
  EXPECT_EQ(record().attempts, 3u);
  EXPECT_EQ(cluster().active, 0);
  EXPECT_EQ(cluster().retries, 0);
}

TEST_F(RouterTest, SaysThatItHasRetried) {
  AddRetries(AddRoute());
  cluster().connect = [](upstream::PoolWaiter& waiter) {
    waiter.OnPoolFailure(upstream::PoolFailure::kConnectFailure, "Connection refused");
  };
  Publish();
  FakeServerStream& client = Ask();
  AwaitAnswer(client);
  EXPECT_EQ(client.body,
            "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: remote "
            "connection failure, transport failure reason: delayed connect error: Connection refused");
  EXPECT_EQ(record().flags, "URX,UF");
  EXPECT_EQ(record().attempts, 3u);
  EXPECT_EQ(cluster().endpoints[0]->outcomes.size(), 3u);
}

TEST_F(RouterTest, RetriesAnUpgradeThatDidNotStand) {
  AddRetries(AddRoute());
  Publish();
  FakeServerStream& client = Ask({.end = false, .upgrade = "websocket"});
  FakeClientStream& first = Asked(0);
  On([&] {
    client.Body("early", false);
    first.Close(http::StreamError::kRefused);
  });
  FakeClientStream& second = Asked(1);
  On([&] { second.Head(101, {}, false, true); });
  EXPECT_EQ(client.status, 101);
  EXPECT_EQ(second.body, "early");
  On([&] { second.Close(http::StreamError::kConnectionClosed); });
  EXPECT_TRUE(client.reset);
  EXPECT_EQ(cluster().requests(), 2u);
}

TEST_F(RouterTest, NeverRetriesWhatIsOverloaded) {
  AddRetries(AddRoute(), {FIVE_XX});
  Publish();
  FakeServerStream& client = Ask();
  FakeClientStream& upstream = Asked(0);
  On([&] { upstream.Head(503, {{"x-envoy-overloaded", "true"}}, true); });
  EXPECT_EQ(client.status, 503);
  cluster().overflows = true;
  EXPECT_EQ(Ask().status, 503);
  EXPECT_EQ(record(1).flags, "UO");
  EXPECT_EQ(record(1).attempts, 1u);
}

TEST_F(RouterTest, RetriesGrpcStatuses) {
  AddRetries(AddRoute());
  Publish();
  FakeServerStream& client = Ask({.fields = {{"content-type", "application/grpc"}}});
  FakeClientStream& first = Asked(0);
  On([&] { first.Head(200, {{"grpc-status", "14"}}, true); });
  FakeClientStream& second = Asked(1);
  On([&] { second.Head(200, {{"grpc-status", "0"}}, true); });
  EXPECT_EQ(FieldIn(client.fields, "grpc-status"), "0");
}

TEST_F(RouterTest, RetriesTheCodesAndHeadersThatAreNamed) {
  RetryPolicy& policy = AddRetries(AddRoute(), {RETRIABLE_STATUS_CODES, RETRIABLE_HEADERS});
  policy.add_codes(418);
  HeaderMatch* const header = policy.add_retriable_headers();
  header->set_name("x-again");
  header->mutable_value()->set_present(true);
  Publish();
  FakeServerStream& client = Ask();
  FakeClientStream& first = Asked(0);
  On([&] { first.Head(418, {}, true); });
  FakeClientStream& second = Asked(1);
  On([&] { second.Head(200, {{"x-again", "1"}}, true); });
  FakeClientStream& third = Asked(2);
  On([&] { third.Head(200, {}, true); });
  EXPECT_EQ(client.status, 200);
}

TEST_F(RouterTest, DoesNotRepeatABodyThatIsTooLarge) {
  AddRetries(AddRoute());
  Publish();
  FakeServerStream& client = Ask({.method = "POST", .end = false});
  FakeClientStream& upstream = Asked(0);
  const std::string block(64 * 1024, 'x');
  for (size_t i = 0; i < 20; ++i) On([&] { client.Body(block, false); });
  EXPECT_EQ(upstream.body.size(), 20 * block.size());
  EXPECT_EQ(services_->retained.held, 0u);
  On([&] { upstream.Close(http::StreamError::kRefused); });
  EXPECT_EQ(client.status, 503);
  EXPECT_EQ(cluster().requests(), 1u);
}

TEST_F(RouterTest, LimitsRetriesOfAClusterTogether) {
  AddRetries(AddRoute());
  cluster().may_retry = false;
  Publish();
  FakeServerStream& client = Ask();
  FakeClientStream& upstream = Asked(0);
  On([&] { upstream.Close(http::StreamError::kRefused); });
  EXPECT_EQ(client.status, 503);
  EXPECT_EQ(record().flags, "UO,UR");
}

TEST_F(RouterTest, LimitsEachTry) {
  RetryPolicy& policy = AddRetries(AddRoute("/again"), {GATEWAY_ERROR});
  policy.set_per_try_timeout_ms(10);
  AddRetries(AddRoute()).set_per_try_timeout_ms(10);
  Publish();
  FakeServerStream& once = Ask();
  AwaitAnswer(once);
  EXPECT_EQ(once.status, 504);
  EXPECT_EQ(once.body, "upstream request timeout");
  EXPECT_EQ(record().details, "upstream_per_try_timeout");
  EXPECT_EQ(record().attempts, 1u);
  FakeServerStream& again = Ask({.path = "/again"});
  AwaitAnswer(again);
  EXPECT_EQ(again.status, 504);
  EXPECT_EQ(record(1).attempts, 3u);
  EXPECT_EQ(record(1).flags, "URX,UT");
}

TEST_F(RouterTest, CountsAllRetriesAgainstTheRoutesTime) {
  Route& route = AddRoute();
  route.mutable_forward()->set_timeout_ms(40);
  RetryPolicy& policy = AddRetries(route, {FIVE_XX});
  policy.set_attempts(1000);
  policy.set_per_try_timeout_ms(8);
  Publish();
  FakeServerStream& client = Ask();
  AwaitAnswer(client);
  EXPECT_EQ(client.status, 504);
  EXPECT_EQ(record().details, "response_timeout");
}

TEST_F(RouterTest, GivesUpWaitingForAConnectionWithItsClient) {
  AddRoute();
  IntrusiveList<upstream::PoolWaiter> waiting;
  cluster().connect = [&](upstream::PoolWaiter& waiter) { waiting.PushBack(waiter.link_); };
  Publish();
  FakeServerStream& client = Ask();
  EXPECT_FALSE(waiting.empty());
  On([&] { client.Leave(); });
  EXPECT_TRUE(waiting.empty());
  EXPECT_EQ(cluster().active, 0);
}

TEST_F(RouterTest, MirrorsAWholeRequestAndForgetsIt) {
  Route& route = AddRoute();
  Mirror* const mirror = route.mutable_forward()->add_mirrors();
  mirror->set_cluster("shadow");
  mirror->set_share_ppm(1'000'000);
  Mirror* const never = route.mutable_forward()->add_mirrors();
  never->set_cluster("never");
  cluster("shadow");
  cluster("never");
  Publish();
  FakeServerStream& client = Ask({.method = "POST", .path = "/m", .end = false});
  On([&] { client.Body("bo", false); });
  EXPECT_EQ(cluster("shadow").requests(), 0u);
  On([&] { client.Body("dy", true); });
  FakeClientStream& copy = Asked(0, "shadow");
  EXPECT_EQ(copy.body, "body");
  EXPECT_EQ(copy.path, "/m");
  EXPECT_EQ(copy.authority, "reviews:9080");
  EXPECT_TRUE(copy.ended);
  FakeClientStream& upstream = Asked(0);
  EXPECT_EQ(upstream.body, "body");
  On([&] { upstream.Head(200, {}, true); });
  EXPECT_EQ(client.status, 200);
  EXPECT_EQ(services_->mirrors->size(), 1u);
  On([&] { copy.Head(500, {}, true); });
  EXPECT_EQ(services_->mirrors->size(), 0u);
  EXPECT_EQ(cluster("shadow").active, 0);
  EXPECT_EQ(cluster("never").requests(), 0u);
  EXPECT_EQ(records_.size(), 1u);
}

TEST_F(RouterTest, MirrorsNothingOfARequestThatGoesNowhere) {
  Route& route = AddRoute();
  AddRetries(route, {CONNECT_FAILURE});
  Mirror* const mirror = route.mutable_forward()->add_mirrors();
  mirror->set_cluster("shadow");
  mirror->set_share_ppm(1'000'000);
  cluster("shadow");
  cluster().endpoints.clear();
  Publish();
  FakeServerStream& bare = Ask();
  EXPECT_EQ(bare.status, 503);
  EXPECT_EQ(record().flags, "UH");
  FakeServerStream& whole = Ask({.method = "POST", .end = false});
  On([&] { whole.Body("body", true); });
  EXPECT_EQ(whole.status, 503);
  EXPECT_EQ(cluster("shadow").requests(), 0u);
}

TEST_F(RouterTest, AnswersForStreamsThatAreIdle) {
  settings_.stream_idle_ms = 20;
  AddRoute();
  Publish();
  FakeServerStream& silent = Ask();
  AwaitAnswer(silent);
  EXPECT_EQ(silent.status, 408);
  EXPECT_EQ(silent.body, "stream timeout");
  EXPECT_EQ(record().flags, "SI");
  FakeServerStream& half = Ask();
  FakeClientStream& upstream = Asked(1);
  On([&] { upstream.Head(200, {}, false); });
  AwaitAnswer(half);
  EXPECT_TRUE(half.reset);
  EXPECT_EQ(record(1).flags, "SI");
}

}  // namespace
}  // namespace weft::l7
