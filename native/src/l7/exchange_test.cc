#include "exchange_fixture.h"

namespace weft::l7 {
namespace {

using test::AskedRequest;
using test::FakeClientStream;
using test::FakeServerStream;
using test::FieldIn;

using ExchangeTest = test::ExchangeTest;

TEST_F(ExchangeTest, CarriesARequestAndItsAnswer) {
  AddRoute();
  Publish();
  FakeServerStream& client = Ask({.path = "/reviews/0?full=1", .fields = {{"x-a", "1"}}});
  FakeClientStream& upstream = Asked(0);
  EXPECT_EQ(upstream.method, "GET");
  EXPECT_EQ(upstream.authority, "reviews:9080");
  EXPECT_EQ(upstream.path, "/reviews/0?full=1");
  EXPECT_EQ(upstream.scheme, "http");
  EXPECT_TRUE(upstream.ended);
  EXPECT_EQ(FieldIn(upstream.fields, "x-a"), "1");
  EXPECT_EQ(FieldIn(upstream.fields, "x-forwarded-for"), "10.1.2.3");
  EXPECT_EQ(FieldIn(upstream.fields, "x-forwarded-proto"), "http");
  EXPECT_EQ(FieldIn(upstream.fields, "x-envoy-attempt-count"), "1");
  EXPECT_EQ(FieldIn(upstream.fields, "x-request-id").size(), 36u);
  On([&] {
    upstream.Head(200, {{"content-type", "text/html"}, {"server", "gunicorn"}}, false);
    upstream.Body("he", false);
    upstream.Body("llo", true);
  });
  EXPECT_EQ(client.status, 200);
  EXPECT_EQ(client.body, "hello");
  EXPECT_TRUE(client.ended);
  EXPECT_EQ(FieldIn(client.fields, "server"), "istio-envoy");
  EXPECT_NE(FieldIn(client.fields, "date"), "-");
  EXPECT_EQ(FieldIn(client.fields, "x-envoy-upstream-service-time").find_first_not_of("0123456789"), std::string::npos);
  ASSERT_EQ(records_.size(), 1u);
  EXPECT_EQ(record().status, 200);
  EXPECT_EQ(record().flags, "-");
  EXPECT_EQ(record().details, "via_upstream");
  EXPECT_EQ(record().cluster, "reviews");
  EXPECT_EQ(record().endpoint, "10.0.0.1:80");
  EXPECT_EQ(record().route, "default");
  EXPECT_EQ(record().sent, 5u);
  EXPECT_EQ(record().attempts, 1u);
  EXPECT_EQ(cluster().active, 0);
  EXPECT_EQ(cluster().endpoints[0]->outcomes.size(), 1u);
}

TEST_F(ExchangeTest, CarriesBodiesAndTrailersBothWays) {
  AddRoute();
  Publish();
  FakeServerStream& client = Ask({.method = "POST", .end = false});
  FakeClientStream& upstream = Asked(0);
  EXPECT_FALSE(upstream.ended);
  On([&] { client.Body("one", false); });
  On([&] { client.Trailers({{"x-sum", "7"}}); });
  EXPECT_EQ(upstream.body, "one");
  EXPECT_EQ(FieldIn(upstream.trailers, "x-sum"), "7");
  On([&] {
    upstream.Head(200, {}, false);
    upstream.Body("two", false);
    upstream.Trailers({{"x-more", "8"}});
  });
  EXPECT_EQ(client.body, "two");
  EXPECT_EQ(FieldIn(client.trailers, "x-more"), "8");
  EXPECT_EQ(record().received, 3u);
}

TEST_F(ExchangeTest, UsesItsObjectsAgain) {
  AddRoute();
  Publish();
  for (size_t i = 0; i < 50; ++i) {
    FakeServerStream& client = Ask({.path = "/" + std::to_string(i)});
    FakeClientStream& upstream = Asked(i);
    EXPECT_EQ(upstream.path, "/" + std::to_string(i));
    On([&] { upstream.Head(200, {}, true); });
    EXPECT_TRUE(client.ended);
    EXPECT_EQ(FieldIn(client.fields, "server"), "istio-envoy");
  }
  EXPECT_EQ(records_.size(), 50u);
}

TEST_F(ExchangeTest, AnswersNrWithoutARouteOrAHost) {
  Publish();
  FakeServerStream& no_host = Ask();
  EXPECT_EQ(no_host.status, 404);
  EXPECT_EQ(no_host.body, "");
  AddRoute("/a");
  Publish();
  FakeServerStream& no_route = Ask({.path = "/b"});
  EXPECT_EQ(no_route.status, 404);
  EXPECT_EQ(FieldIn(no_route.fields, "content-length"), "0");
  EXPECT_EQ(record(1).flags, "NR");
  EXPECT_EQ(record(1).details, "route_not_found");
}

TEST_F(ExchangeTest, AnswersNcWithoutTheCluster) {
  Route& route = AddRoute("/a");
  route.mutable_forward()->mutable_clusters(0)->set_cluster("nobody");
  Route& of_gateway = AddRoute("/b");
  of_gateway.mutable_forward()->mutable_clusters(0)->set_cluster("");
  of_gateway.mutable_forward()->set_unavailable_status(500);
  Publish();
  EXPECT_EQ(Ask({.path = "/a"}).status, 503);
  EXPECT_EQ(Ask({.path = "/b"}).status, 500);
  EXPECT_EQ(record(0).flags, "NC");
  EXPECT_EQ(record(0).details, "cluster_not_found");
  EXPECT_EQ(record(1).flags, "NC");
}

TEST_F(ExchangeTest, AnswersUhWithoutAnEndpoint) {
  AddRoute();
  cluster().endpoints.clear();
  Publish();
  FakeServerStream& client = Ask();
  EXPECT_EQ(client.status, 503);
  EXPECT_EQ(client.body, "no healthy upstream");
  EXPECT_EQ(FieldIn(client.fields, "content-type"), "text/plain");
  EXPECT_EQ(record().flags, "UH");
  EXPECT_EQ(record().details, "no_healthy_upstream");
}

TEST_F(ExchangeTest, SaysOverloadedWhenABreakerIsOpen) {
  AddRoute();
  cluster().overflows = true;
  Publish();
  FakeServerStream& client = Ask();
  EXPECT_EQ(client.status, 503);
  EXPECT_EQ(client.body, "upstream connect error or disconnect/reset before headers. reset reason: overflow");
  EXPECT_EQ(FieldIn(client.fields, "x-envoy-overloaded"), "true");
  EXPECT_EQ(record().flags, "UO");
  EXPECT_EQ(record().details, "upstream_reset_before_response_started{overflow}");
}

TEST_F(ExchangeTest, TellsWhyNobodyCouldBeReached) {
  AddRoute();
  Publish();
  const auto fail = [&](upstream::PoolFailure failure, const char* detail) -> FakeServerStream& {
    cluster().connect = [=](upstream::PoolWaiter& waiter) { waiter.OnPoolFailure(failure, detail); };
    return Ask();
  };
  EXPECT_EQ(fail(upstream::PoolFailure::kConnectFailure, "Connection refused").body,
            "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, "
            "transport failure reason: delayed connect error: Connection refused");
  EXPECT_EQ(record(0).flags, "UF");
  EXPECT_EQ(record(0).transport_failure, "delayed connect error: Connection refused");
  EXPECT_EQ(fail(upstream::PoolFailure::kConnectTimeout, "timed out").body,
            "upstream connect error or disconnect/reset before headers. reset reason: connection timeout");
  EXPECT_EQ(fail(upstream::PoolFailure::kOverflow, "too many wait").body,
            "upstream connect error or disconnect/reset before headers. reset reason: overflow");
  EXPECT_EQ(record(2).flags, "UO");
  EXPECT_EQ(cluster().active, 0);
}

TEST_F(ExchangeTest, TellsHowAStreamEndedBeforeItsHead) {
  AddRoute();
  Publish();
  const std::vector<std::tuple<http::StreamError, uint16_t, std::string, std::string>> cases{
      {http::StreamError::kConnectionClosed, 503, "connection termination", "UC"},
      {http::StreamError::kReset, 503, "remote reset", "UR"},
      {http::StreamError::kRefused, 503, "remote refused stream reset", "UR"},
      {http::StreamError::kProtocol, 502, "protocol error", "UPE"},
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto& [error, status, words, flag] = cases[i];
    FakeServerStream& client = Ask();
    FakeClientStream& upstream = Asked(i);
    On([&, error = error] { upstream.Close(error); });
    EXPECT_EQ(client.status, status);
    EXPECT_EQ(client.body, "upstream connect error or disconnect/reset before headers. reset reason: " + words);
    EXPECT_EQ(record(i).flags, flag);
  }
}

TEST_F(ExchangeTest, CutsAnAnswerThatItsUpstreamDoesNotEnd) {
  AddRoute();
  Publish();
  FakeServerStream& client = Ask();
  FakeClientStream& upstream = Asked(0);
  On([&] {
    upstream.Head(200, {}, false);
    upstream.Body("half", false);
    upstream.Close(http::StreamError::kConnectionClosed);
  });
  EXPECT_TRUE(client.reset);
  EXPECT_EQ(client.body, "half");
  EXPECT_EQ(record().status, 200);
  EXPECT_EQ(record().flags, "UC");
  EXPECT_EQ(record().details, "upstream_reset_after_response_started{connection_termination}");
}

TEST_F(ExchangeTest, ResetsTheUpstreamOfAClientThatLeft) {
  AddRoute();
  Publish();
  FakeServerStream& client = Ask();
  FakeClientStream& upstream = Asked(0);
  On([&] { client.Leave(); });
  EXPECT_TRUE(upstream.reset);
  EXPECT_EQ(record().flags, "DC");
  EXPECT_EQ(record().status, 0);
  EXPECT_EQ(record().details, "downstream_remote_disconnect");
  EXPECT_EQ(cluster().active, 0);
}

TEST_F(ExchangeTest, HoldsAnUpstreamBackThatIsFasterThanItsClient) {
  AddRoute();
  Publish();
  FakeServerStream& client = Ask();
  FakeClientStream& upstream = Asked(0);
  On([&] {
    client.room = 3;
    upstream.Head(200, {}, false);
    upstream.Body("hello", false);
  });
  EXPECT_EQ(client.body, "hel");
  EXPECT_TRUE(upstream.paused);
  On([&] { client.Read(100); });
  EXPECT_EQ(client.body, "hello");
  EXPECT_FALSE(upstream.paused);
  On([&] {
    client.room = 0;
    upstream.Body("!", true);
  });
  EXPECT_FALSE(client.ended);
  EXPECT_EQ(cluster().active, 0);
  On([&] { client.Read(100); });
  EXPECT_TRUE(client.ended);
  EXPECT_EQ(client.body, "hello!");
  EXPECT_EQ(record().flags, "-");
}

TEST_F(ExchangeTest, HoldsAClientBackThatIsFasterThanItsUpstream) {
  AddRoute();
  Publish();
  FakeServerStream& client = Ask({.method = "POST", .end = false});
  FakeClientStream& upstream = Asked(0);
  const std::string block(100'000, 'x');
  On([&] {
    upstream.room = 10;
    client.Body(block, false);
  });
  EXPECT_EQ(upstream.body.size(), 10u);
  EXPECT_TRUE(client.paused);
  On([&] {
    upstream.room = block.size();
    upstream.Writable();
  });
  EXPECT_EQ(upstream.body.size(), block.size());
  EXPECT_FALSE(client.paused);
}

TEST_F(ExchangeTest, SpeaksGrpcToGrpcClients) {
  AddRoute();
  cluster().endpoints.clear();
  Publish();
  FakeServerStream& client =
      Ask({.fields = {{"content-type", "application/grpc"}}, .protocol = http::Protocol::kHttp2});
  EXPECT_EQ(client.status, 200);
  EXPECT_EQ(FieldIn(client.fields, "content-type"), "application/grpc");
  EXPECT_EQ(FieldIn(client.fields, "grpc-status"), "14");
  EXPECT_EQ(FieldIn(client.fields, "grpc-message"), "no healthy upstream");
  EXPECT_EQ(client.body, "");
  EXPECT_EQ(record().grpc_status, 14);
}

TEST_F(ExchangeTest, CountsGrpcMessagesAndReadsTheStatus) {
  AddRoute();
  Publish();
  FakeServerStream& client =
      Ask({.method = "POST", .fields = {{"content-type", "application/grpc+proto"}}, .end = false});
  FakeClientStream& upstream = Asked(0);
  const std::string message("\0\0\0\0\3abc", 8);
  On([&] { client.Body(message + message, true); });
  On([&] {
    upstream.Head(200, {{"content-type", "application/grpc+proto"}}, false);
    upstream.Body(message.substr(0, 3), false);
    upstream.Body(message.substr(3), false);
    upstream.Trailers({{"grpc-status", "5"}});
  });
  EXPECT_EQ(FieldIn(client.trailers, "grpc-status"), "5");
  EXPECT_EQ(record().grpc_requests, 2u);
  EXPECT_EQ(record().grpc_responses, 1u);
  EXPECT_EQ(record().grpc_status, 5);
  // For outlier detection NOT_FOUND is a 404.
  EXPECT_EQ(cluster().endpoints[0]->outcomes.at(0).status, 404);
}

TEST_F(ExchangeTest, GivesAnswersToHeadNoBody) {
  AddRoute();
  cluster().endpoints.clear();
  Publish();
  FakeServerStream& client = Ask({.method = "HEAD"});
  EXPECT_EQ(client.status, 503);
  EXPECT_EQ(client.body, "");
  EXPECT_EQ(FieldIn(client.fields, "content-length"), "19");
}

TEST_F(ExchangeTest, PassesOnThatAnUpstreamWaitsForTheBody) {
  AddRoute();
  Publish();
  FakeServerStream& client = Ask({.method = "POST", .end = false, .expect_continue = true});
  FakeClientStream& upstream = Asked(0);
  EXPECT_EQ(FieldIn(upstream.fields, "expect"), "100-continue");
  On([&] { upstream.Informational(100); });
  EXPECT_EQ(client.informational, std::vector<uint16_t>{100});
}

TEST_F(ExchangeTest, TakesAnAnswerBeforeTheRequestIsWhole) {
  AddRoute();
  Publish();
  FakeServerStream& client = Ask({.method = "POST", .end = false});
  FakeClientStream& upstream = Asked(0);
  On([&] {
    client.Body("begin", false);
    upstream.Head(413, {}, true);
  });
  EXPECT_EQ(client.status, 413);
  EXPECT_TRUE(upstream.reset);
  EXPECT_EQ(cluster().active, 0);
}

TEST_F(ExchangeTest, BridgesBytesAfterAnUpgrade) {
  AddRoute();
  Publish();
  FakeServerStream& client = Ask({.path = "/chat", .end = false, .upgrade = "websocket"});
  FakeClientStream& upstream = Asked(0);
  // Nothing of the tunnel before it stands.
  On([&] { client.Body("early", false); });
  EXPECT_EQ(upstream.body, "");
  On([&] { upstream.Head(101, {}, false, true); });
  EXPECT_EQ(client.status, 101);
  EXPECT_TRUE(client.upgraded);
  EXPECT_EQ(upstream.body, "early");
  On([&] {
    upstream.Body("from server", false);
    client.Body(" late", false);
  });
  EXPECT_EQ(client.body, "from server");
  EXPECT_EQ(upstream.body, "early late");
  On([&] { client.Body("", true); });
  EXPECT_TRUE(upstream.ended);
  On([&] { upstream.Body("", true); });
  EXPECT_TRUE(client.ended);
  EXPECT_EQ(cluster().active, 0);
}

TEST_F(ExchangeTest, RefusesWebsocketsWhereTheRouteDoes) {
  AddRoute().mutable_forward()->set_websocket_refused(true);
  Publish();
  EXPECT_EQ(Ask({.end = false, .upgrade = "websocket"}).status, 403);
}

TEST_F(ExchangeTest, DrawsClustersByWeight) {
  Route& route = AddRoute();
  route.mutable_forward()->clear_clusters();
  for (const auto& [name, weight] : std::vector<std::pair<std::string, uint32_t>>{{"v1", 90}, {"v2", 10}, {"v3", 0}}) {
    WeightedCluster* const added = route.mutable_forward()->add_clusters();
    added->set_cluster(name);
    added->set_weight(weight);
    cluster(name);
  }
  Publish();
  constexpr size_t kRequests = 600;
  for (size_t i = 0; i < kRequests; ++i) Ask();
  EXPECT_EQ(cluster("v1").requests() + cluster("v2").requests(), kRequests);
  EXPECT_EQ(cluster("v3").requests(), 0u);
  EXPECT_GT(cluster("v2").requests(), 20u);
  EXPECT_LT(cluster("v2").requests(), 120u);
}

TEST_F(ExchangeTest, EditsHeadersInTheirOrder) {
  Route& route = AddRoute();
  const auto add = [](HeaderOps* ops, const std::string& value) {
    HeaderValue* const header = ops->add_add();
    header->set_name("x-order");
    header->set_value(value);
  };
  add(route.mutable_request_headers(), "route");
  add(route.mutable_response_headers(), "route");
  WeightedCluster* const first = route.mutable_forward()->mutable_clusters(0);
  first->set_weight(1);
  add(first->mutable_request_headers(), "destination");
  add(first->mutable_response_headers(), "destination");
  Publish();
  Ask();
  EXPECT_EQ(FieldIn(Asked(0).fields, "x-order"), "route,destination");
  // Of several destinations each one's own come first.
  route.mutable_forward()->add_clusters()->set_cluster("other");
  Publish();
  FakeServerStream& client = Ask();
  FakeClientStream& upstream = Asked(1);
  EXPECT_EQ(FieldIn(upstream.fields, "x-order"), "destination,route");
  On([&] { upstream.Head(200, {}, true); });
  EXPECT_EQ(FieldIn(client.fields, "x-order"), "destination,route");
}

TEST_F(ExchangeTest, RewritesAndRemembersThePath) {
  Route& route = AddRoute("/foo");
  route.mutable_forward()->mutable_rewrite()->set_prefix("/");
  route.mutable_forward()->mutable_rewrite()->set_authority("other.com");
  Publish();
  Ask({.path = "/foo/bar?q=1"});
  FakeClientStream& upstream = Asked(0);
  EXPECT_EQ(upstream.path, "//bar?q=1");
  EXPECT_EQ(upstream.authority, "other.com");
  EXPECT_EQ(FieldIn(upstream.fields, "x-envoy-original-path"), "/foo/bar?q=1");
  On([&] { upstream.Head(200, {}, true); });
  EXPECT_EQ(record().original_path, "/foo/bar?q=1");
  EXPECT_EQ(record().path, "//bar?q=1");
}

TEST_F(ExchangeTest, AnswersDirectlyAndRedirects) {
  Route& direct = AddRoute("/direct");
  direct.mutable_direct()->set_status(555);
  direct.mutable_direct()->set_body(std::string(100'000, 'd'));
  HeaderValue* const header = direct.mutable_response_headers()->add_set();
  header->set_name("x-made");
  header->set_value("here");
  Route& redirect = AddRoute("/old");
  redirect.mutable_redirect()->set_full("/new");
  Publish();
  FakeServerStream& answered = Ask({.path = "/direct"});
  EXPECT_EQ(answered.status, 555);
  EXPECT_EQ(answered.body.size(), 100'000u);
  EXPECT_EQ(FieldIn(answered.fields, "x-made"), "here");
  EXPECT_EQ(record().details, "direct_response");
  FakeServerStream& sent_on = Ask({.path = "/old?q=1"});
  EXPECT_EQ(sent_on.status, 301);
  EXPECT_EQ(FieldIn(sent_on.fields, "location"), "http://reviews:9080/new?q=1");
}

TEST_F(ExchangeTest, RefusesPathsThatHaveNoNormalForm) {
  AddRoute();
  Publish();
  EXPECT_EQ(Ask({.path = "/a%00b"}).status, 400);
  EXPECT_EQ(Ask({.path = "/a?b#c"}).status, 400);
  Ask({.path = "/x/../admin"});
  EXPECT_EQ(Asked(0).path, "/admin");
}

TEST_F(ExchangeTest, MakesForwardingHeadersTrue) {
  settings_.trusted_proxies = 1;
  settings_.xfcc_from_peer = true;
  AddRoute();
  Publish();
  Ask({.fields = {{"x-forwarded-for", "1.1.1.1, 2.2.2.2"}, {"x-forwarded-client-cert", "URI=spiffe://forged"}}});
  FakeClientStream& upstream = Asked(0);
  EXPECT_EQ(FieldIn(upstream.fields, "x-forwarded-for"), "1.1.1.1, 2.2.2.2,10.1.2.3");
  EXPECT_EQ(FieldIn(upstream.fields, "x-forwarded-client-cert"), "URI=spiffe://cluster.local/ns/web/sa/front");
}

TEST_F(ExchangeTest, SetsTheCookieOfALoadBalancer) {
  AddRoute();
  cluster().cookie = "session=1; Path=/";
  Publish();
  FakeServerStream& client = Ask();
  FakeClientStream& upstream = Asked(0);
  On([&] { upstream.Head(200, {{"set-cookie", "a=b"}}, true); });
  EXPECT_EQ(FieldIn(client.fields, "set-cookie"), "a=b,session=1; Path=/");
}

}  // namespace
}  // namespace weft::l7
