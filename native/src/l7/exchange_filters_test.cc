#include "exchange_fixture.h"
#include "l7/fault.h"

// What a request meets before it is forwarded.
namespace weft::l7 {
namespace {

using test::FakeClientStream;
using test::FakeServerStream;
using test::FieldIn;

using FaultTest = test::ExchangeTest;
using CorsTest = test::ExchangeTest;
using RateLimitTest = test::ExchangeTest;

TEST(FaultDraw, IsExactToAMillionth) {
  EXPECT_FALSE(FallsInto(0, 0));
  EXPECT_TRUE(FallsInto(0, 1));
  EXPECT_FALSE(FallsInto(1u << 13, 1));
  EXPECT_TRUE(FallsInto(UINT32_MAX, 1'000'000));
  EXPECT_FALSE(FallsInto(UINT32_MAX, 999'999));
}

TEST_F(FaultTest, AbortsWithItsStatusAndItsWords) {
  Fault* const fault = AddRoute().mutable_fault();
  fault->set_abort_status(555);
  fault->set_abort_ppm(1'000'000);
  Publish();
  FakeServerStream& client = Ask();
  EXPECT_EQ(client.status, 555);
  EXPECT_EQ(client.body, "fault filter abort");
  EXPECT_EQ(FieldIn(client.fields, "content-type"), "text/plain");
  EXPECT_EQ(FieldIn(client.fields, "server"), "istio-envoy");
  EXPECT_EQ(record().flags, "FI");
  EXPECT_EQ(record().details, "fault_filter_abort");
  EXPECT_EQ(cluster().requests(), 0u);
}

TEST_F(FaultTest, NeverHappensWithoutAShare) {
  Fault* const fault = AddRoute().mutable_fault();
  fault->set_abort_status(500);
  fault->set_delay_ms(60'000);
  Publish();
  Ask();
  AwaitRequests(1);
}

TEST_F(FaultTest, AbortsGrpcByItsOwnStatus) {
  Fault* const fault = AddRoute().mutable_fault();
  fault->set_abort_grpc_status(8);
  fault->set_abort_ppm(1'000'000);
  Publish();
  FakeServerStream& client = Ask({.fields = {{"content-type", "application/grpc"}}});
  EXPECT_EQ(client.status, 200);
  EXPECT_EQ(FieldIn(client.fields, "grpc-status"), "8");
  EXPECT_EQ(FieldIn(client.fields, "grpc-message"), "fault filter abort");
  // As from Envoy: a client that does not speak gRPC cannot tell but by the body.
  FakeServerStream& plain = Ask();
  EXPECT_EQ(plain.status, 200);
  EXPECT_EQ(plain.body, "fault filter abort");
}

TEST_F(FaultTest, DelaysBeforeItForwards) {
  Fault* const fault = AddRoute().mutable_fault();
  fault->set_delay_ms(30);
  fault->set_delay_ppm(1'000'000);
  Publish();
  FakeServerStream& client = Ask({.method = "POST", .end = false});
  On([&] { client.Body("in the meantime", true); });
  EXPECT_EQ(cluster().requests(), 0u);
  FakeClientStream& upstream = Asked(0);
  EXPECT_EQ(upstream.body, "in the meantime");
  On([&] { upstream.Head(200, {}, true); });
  EXPECT_EQ(record().flags, "DI");
  EXPECT_EQ(record().details, "via_upstream");
}

TEST_F(FaultTest, DelaysFirstAndAbortsThen) {
  Fault* const fault = AddRoute().mutable_fault();
  fault->set_delay_ms(10);
  fault->set_delay_ppm(1'000'000);
  fault->set_abort_status(400);
  fault->set_abort_ppm(1'000'000);
  Publish();
  FakeServerStream& client = Ask();
  EXPECT_EQ(client.status, 0);
  AwaitAnswer(client);
  EXPECT_EQ(client.status, 400);
  EXPECT_EQ(record().flags, "DI,FI");
}

TEST_F(FaultTest, ForgetsADelayedRequestWhoseClientLeft) {
  Fault* const fault = AddRoute().mutable_fault();
  fault->set_delay_ms(10);
  fault->set_delay_ppm(1'000'000);
  Publish();
  FakeServerStream& client = Ask();
  On([&] { client.Leave(); });
  EXPECT_EQ(record().flags, "DI,DC");
  FakeServerStream& next = Ask();
  AwaitRequests(1);
  EXPECT_EQ(cluster().requests(), 1u);
  EXPECT_FALSE(next.closed);
}

Cors& AddCors(Route& route) {
  Cors* const cors = route.mutable_cors();
  cors->add_allow_origins()->set_exact("https://a.com");
  cors->add_allow_methods("GET");
  cors->add_allow_methods("POST");
  cors->add_allow_headers("x-h");
  cors->add_expose_headers("x-e");
  cors->set_max_age_s(60);
  cors->set_allow_credentials(true);
  return *cors;
}

test::AskedRequest Preflight(const std::string& origin) {
  return {.method = "OPTIONS", .fields = {{"origin", origin}, {"access-control-request-method", "PUT"}}};
}

TEST_F(CorsTest, AnswersPreflightsOfOriginsThatAreAllowed) {
  AddCors(AddRoute());
  Publish();
  FakeServerStream& client = Ask(Preflight("https://a.com"));
  EXPECT_EQ(client.status, 200);
  EXPECT_EQ(FieldIn(client.fields, "access-control-allow-origin"), "https://a.com");
  EXPECT_EQ(FieldIn(client.fields, "access-control-allow-methods"), "GET,POST");
  EXPECT_EQ(FieldIn(client.fields, "access-control-allow-headers"), "x-h");
  EXPECT_EQ(FieldIn(client.fields, "access-control-max-age"), "60");
  EXPECT_EQ(FieldIn(client.fields, "access-control-allow-credentials"), "true");
  EXPECT_EQ(cluster().requests(), 0u);
}

TEST_F(CorsTest, ForwardsOtherPreflightsUnlessTheyAreIgnored) {
  AddCors(AddRoute("/ignored")).set_ignore_unmatched_preflights(true);
  AddCors(AddRoute());
  Publish();
  Ask(Preflight("https://b.com"));
  EXPECT_EQ(Asked(0).method, "OPTIONS");
  test::AskedRequest ignored = Preflight("https://b.com");
  ignored.path = "/ignored";
  FakeServerStream& client = Ask(ignored);
  EXPECT_EQ(client.status, 200);
  EXPECT_EQ(FieldIn(client.fields, "access-control-allow-origin"), "-");
}

TEST_F(CorsTest, MarksAnswersToOriginsThatAreAllowed) {
  AddCors(AddRoute());
  Publish();
  FakeServerStream& allowed = Ask({.fields = {{"origin", "https://a.com"}}});
  FakeServerStream& other = Ask({.fields = {{"origin", "https://b.com"}}});
  FakeClientStream& first = Asked(0);
  FakeClientStream& second = Asked(1);
  On([&] {
    first.Head(200, {}, true);
    second.Head(200, {}, true);
  });
  EXPECT_EQ(FieldIn(allowed.fields, "access-control-allow-origin"), "https://a.com");
  EXPECT_EQ(FieldIn(allowed.fields, "access-control-expose-headers"), "x-e");
  EXPECT_EQ(FieldIn(other.fields, "access-control-allow-origin"), "-");
}

TEST_F(CorsTest, AsksBackWhatWasAskedForWhereAStarWouldBeTakenLiterally) {
  Cors& cors = AddCors(AddRoute());
  cors.set_gateway_api(true);
  cors.clear_allow_methods();
  cors.add_allow_methods("*");
  Publish();
  EXPECT_EQ(FieldIn(Ask(Preflight("https://a.com")).fields, "access-control-allow-methods"), "PUT");
  FakeServerStream& other = Ask(Preflight("https://b.com"));
  EXPECT_EQ(other.status, 200);
  EXPECT_EQ(FieldIn(other.fields, "access-control-allow-origin"), "-");
}

TEST_F(RateLimitTest, RefusesWhatIsTooMuchBeforeFaultsAreDrawn) {
  Route& route = AddRoute();
  LocalRateLimit* const limit = route.mutable_rate_limits()->mutable_local();
  limit->set_tokens(1);
  limit->set_tokens_per_fill(1);
  limit->set_fill_interval_ms(60'000);
  limit->set_enabled_ppm(1'000'000);
  route.mutable_fault()->set_abort_status(500);
  route.mutable_fault()->set_abort_ppm(1'000'000);
  Publish();
  EXPECT_EQ(Ask().status, 500);
  FakeServerStream& refused = Ask();
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.body, "local_rate_limited");
  EXPECT_EQ(record(1).flags, "RL");
}

// An authorizer of the route's that wants to see the body.
class AuthorizerTest : public test::ExchangeTest {
 protected:
  void AddAuthorizer(uint32_t body_max_bytes) {
    ExternalAuthorizer* const authorizer = AddRoute().mutable_authorizer();
    authorizer->set_provider("p");
    authorizer->set_cluster("authz");
    authorizer->set_timeout_ms(5'000);
    authorizer->set_body_max_bytes(body_max_bytes);
    cluster("authz");
  }
};

TEST_F(AuthorizerTest, SeesTheBodyThatThenGoesOn) {
  AddAuthorizer(100);
  Publish();
  FakeServerStream& client = Ask({.method = "POST", .end = false, .expect_continue = true});
  EXPECT_EQ(client.informational, std::vector<uint16_t>{100});
  On([&] { client.Body("bo", false); });
  EXPECT_EQ(cluster("authz").requests(), 0u);
  On([&] { client.Body("dy", true); });
  FakeClientStream& asked = Asked(0, "authz");
  EXPECT_EQ(asked.body, "body");
  EXPECT_EQ(cluster().requests(), 0u);
  On([&] { asked.Head(200, {}, true); });
  FakeClientStream& upstream = Asked(0);
  EXPECT_EQ(upstream.body, "body");
  EXPECT_EQ(FieldIn(upstream.fields, "expect"), "-");
  On([&] { upstream.Head(200, {}, true); });
  EXPECT_EQ(client.status, 200);
}

TEST_F(AuthorizerTest, RefusesABodyThatIsLargerThanItMayShow) {
  AddAuthorizer(3);
  Publish();
  FakeServerStream& client = Ask({.method = "POST", .end = false});
  On([&] { client.Body("four", false); });
  AwaitAnswer(client);
  EXPECT_EQ(client.status, 413);
  EXPECT_EQ(cluster("authz").requests(), 0u);
}

TEST_F(AuthorizerTest, PassesItsRefusalOn) {
  AddAuthorizer(0);
  Publish();
  FakeServerStream& client = Ask();
  FakeClientStream& asked = Asked(0, "authz");
  On([&] {
    asked.Head(401, {}, false);
    asked.Body("who are you", true);
  });
  AwaitAnswer(client);
  EXPECT_EQ(client.status, 401);
  EXPECT_EQ(client.body, "who are you");
  EXPECT_EQ(record().flags, "UAEX");
}

TEST_F(AuthorizerTest, IsNotAskedOnForAClientThatLeft) {
  AddAuthorizer(0);
  Publish();
  FakeServerStream& client = Ask();
  FakeClientStream& asked = Asked(0, "authz");
  On([&] { client.Leave(); });
  EXPECT_TRUE(asked.reset);
}

}  // namespace
}  // namespace weft::l7
