// Outbound connections: where they may go, and what happens when they cannot.
#include "proxy/outbound.h"

#include <gtest/gtest.h>

#include "test_mesh.h"

namespace weft::test {
namespace {

class OutboundTest : public MeshTest {};

TEST_F(OutboundTest, AConnectionThatWasNotCapturedIsRefused) {
  const UniqueFd plain = Connect(At("127.0.0.1", client.engine().Ports(TestNode::kPod)[0]));
  EXPECT_EQ(ReadOnce(plain), -ECONNRESET);
  EXPECT_EQ(client.log().Closed(0).reason, WEFT_R_NO_ORIGINAL_DST);
}

TEST_F(OutboundTest, TheAgentsOwnPortsOnLoopbackAreRefused) {
  for (const uint16_t port : {kOutboundPort, kInboundPlaintextPort, kInboundHbonePort}) {
    const UniqueFd down = client.Dial(At("127.0.0.1", port));
    EXPECT_EQ(ReadOnce(down), -ECONNRESET);
  }
  EXPECT_EQ(client.log().Closed(2).reason, WEFT_R_LOOP);
}

TEST_F(OutboundTest, AnUnknownDestinationWaitsForItsRouteAndAsksOnce) {
  const SocketAddress later = At("10.96.0.2", 80);
  const UniqueFd one = client.Dial(later);
  const UniqueFd two = client.Dial(later);
  ASSERT_TRUE(Eventually([&] { return client.engine().Connections().size() == 2; }));
  ASSERT_EQ(client.log().route_misses().size(), 1U);
  EXPECT_EQ(client.log().route_misses()[0].destination, later);
  client.RouteTo(later, server, PortOf(app));
  EXPECT_TRUE(Accept(app));
  EXPECT_TRUE(Accept(app));
}

TEST_F(OutboundTest, ADestinationWithoutAnAnswerIsRefusedInTimeAndAskedAgain) {
  for (size_t i = 0; i < 2; ++i) {
    const UniqueFd down = client.Dial(At("10.96.0.3", 80));
    EXPECT_EQ(ReadOnce(down), -ECONNRESET);
    EXPECT_EQ(client.log().Closed(i).reason, WEFT_R_ROUTE_TIMEOUT);
    EXPECT_EQ(client.log().route_misses().size(), i + 1);
  }
}

TEST_F(OutboundTest, PassthroughDialsWhatWasAskedFor) {
  const UniqueFd outside = Listen(At("127.0.0.9", 0));
  const SocketAddress destination = At("127.0.0.9", PortOf(outside));
  client.Apply(SetRoute{TestNode::kPod, destination, std::make_shared<Route>()});
  UniqueFd down = client.Dial(destination);
  UniqueFd up = Accept(outside);
  ASSERT_TRUE(up);
  const std::string bytes = Noise(5 << 20, 4);
  ASSERT_TRUE(SendAll(down, "ping"));
  EXPECT_EQ(ReadN(up, 4), "ping");
  std::thread sender([&] {
    SendAll(up, bytes);
    up.Reset();
  });
  EXPECT_TRUE(ReadToEnd(down) == bytes);
  sender.join();
  down.Reset();
  const ConnectionRecord record = client.log().Closed(0);
  EXPECT_EQ(record.reason, WEFT_R_NONE) << record.detail;
  EXPECT_EQ(record.response_bytes, bytes.size());
  EXPECT_TRUE(record.peer_identity.empty());
}

TEST_F(OutboundTest, PassthroughToAClosedPortIsARefusal) {
  UniqueFd outside = Listen(At("127.0.0.9", 0));
  const SocketAddress destination = At("127.0.0.9", PortOf(outside));
  outside.Reset();
  client.Apply(SetRoute{TestNode::kPod, destination, std::make_shared<Route>()});
  const UniqueFd down = client.Dial(destination);
  EXPECT_EQ(ReadOnce(down), -ECONNRESET);
  EXPECT_EQ(client.log().Closed(0).reason, WEFT_R_UPSTREAM_REFUSED);
}

TEST_F(OutboundTest, ARefusingRouteGivesItsReason) {
  auto route = std::make_shared<Route>();
  route->kind = Route::Kind::kRefuse;
  route->reason = WEFT_R_NO_HEALTHY_UPSTREAM;
  client.Apply(SetRoute{TestNode::kPod, service, std::move(route)});
  const UniqueFd down = client.Dial(service);
  EXPECT_EQ(ReadOnce(down), -ECONNRESET);
  EXPECT_EQ(client.log().Closed(0).reason, WEFT_R_NO_HEALTHY_UPSTREAM);
}

TEST_F(OutboundTest, ARouteWithATunnelNamesWhomToExpect) {
  auto route = std::make_shared<Route>();
  route->kind = Route::Kind::kEndpoints;
  RouteEndpoint endpoint;
  endpoint.tunnel = true;
  route->endpoints.push_back(endpoint);
  std::vector<Command> commands;
  commands.push_back(SetRoute{TestNode::kPod, service, std::move(route)});
  EXPECT_FALSE(client.engine().Apply(std::move(commands)));
}

// Two applications behind `service`, with keys and weights 9 and 1.
class TwoEndpointsTest : public OutboundTest {
 protected:
  static constexpr size_t kConnections = 300;
  const UniqueFd heavy = Listen(At("127.0.0.10", 0));
  const UniqueFd light = Listen(At("127.0.0.11", 0));
  std::vector<UniqueFd> open;

  std::shared_ptr<Route> Both() const {
    auto route = std::make_shared<Route>();
    route->kind = Route::Kind::kEndpoints;
    for (const auto& [fd, ip, weight] : {std::tuple{&heavy, "127.0.0.10", 9U}, std::tuple{&light, "127.0.0.11", 1U}}) {
      RouteEndpoint endpoint;
      endpoint.key = weight;
      endpoint.weight = weight;
      endpoint.dial = At(ip, PortOf(*fd));
      route->endpoints.push_back(endpoint);
    }
    return route;
  }

  // How many of kConnections to `destination` went to the heavy one.
  size_t CountHeavy(const SocketAddress& destination, uint32_t chosen_key) {
    for (size_t i = 0; i < kConnections; ++i) open.push_back(client.Dial(destination, chosen_key));
    EXPECT_TRUE(Eventually([&] { return client.stats().open_connections == kConnections; }));
    size_t count = 0;
    for (const ConnectionRecord& record : client.engine().Connections()) count += record.endpoint_key == 9U ? 1 : 0;
    return count;
  }
};

TEST_F(TwoEndpointsTest, ArePickedByWeight) {
  client.Apply(SetRoute{TestNode::kPod, service, Both()});
  const size_t count = CountHeavy(service, 0);
  EXPECT_GT(count, kConnections * 8 / 10);
  EXPECT_LT(count, kConnections);
}

TEST_F(TwoEndpointsTest, TheOneThatBpfChoseIsKept) {
  client.Apply(SetRoute{TestNode::kPod, service, Both()});
  EXPECT_EQ(CountHeavy(service, 1), 0U);
}

TEST_F(TwoEndpointsTest, AChoiceThatIsNoLongerInTheRouteIsDrawnAgain) {
  client.Apply(SetRoute{TestNode::kPod, service, Both()});
  const size_t count = CountHeavy(service, 77);
  EXPECT_GT(count, kConnections * 8 / 10);
  EXPECT_LT(count, kConnections);
}

TEST_F(TwoEndpointsTest, AChoiceIsKeptOverTheWaitForTheRoute) {
  const SocketAddress later = At("10.96.0.2", 80);
  const UniqueFd down = client.Dial(later, 1);
  ASSERT_TRUE(Eventually([&] { return !client.log().route_misses().empty(); }));
  client.Apply(SetRoute{TestNode::kPod, later, Both()});
  EXPECT_TRUE(Accept(light));
}

TEST_F(OutboundTest, ATunnelWaitsForThePodsCertificate) {
  client.Apply(RemoveIdentity{kClientId});
  const UniqueFd down = client.Dial(service);
  ASSERT_TRUE(Eventually([&] { return !client.log().identity_misses().empty(); }));
  EXPECT_EQ(client.log().identity_misses()[0], kClientId);
  client.SetIdentity(ca.Issue(kClientId), ca.roots());
  EXPECT_TRUE(Accept(app));
}

TEST_F(OutboundTest, WithoutACertificateTheConnectionIsRefusedInTime) {
  client.Apply(RemoveIdentity{kClientId});
  const UniqueFd down = client.Dial(service);
  EXPECT_EQ(ReadOnce(down), -ECONNRESET);
  EXPECT_EQ(client.log().Closed(0).reason, WEFT_R_IDENTITY_ERROR);
}

TEST_F(OutboundTest, AClosedHbonePortIsARefusal) {
  server.engine().RemovePod(TestNode::kPod);
  const UniqueFd down = client.Dial(service);
  EXPECT_EQ(ReadOnce(down), -ECONNRESET);
  EXPECT_EQ(client.log().Closed(0).reason, WEFT_R_UPSTREAM_REFUSED);
}

TEST_F(OutboundTest, APeerThatNeverAnswersTlsIsGivenUp) {
  EngineLimits limits = TestLimits();
  limits.tunnel.handshake_ms = 50;
  TestNode brief{ca, kClientId, "127.0.0.3", limits};
  const UniqueFd silent = Listen(At("127.0.0.12", 0));
  auto route = std::make_shared<Route>();
  route->kind = Route::Kind::kEndpoints;
  RouteEndpoint endpoint;
  endpoint.tunnel = true;
  endpoint.dial = At("127.0.0.12", PortOf(silent));
  endpoint.authority = "127.0.0.12:80";
  endpoint.identities = {kServerId};
  route->endpoints.push_back(endpoint);
  brief.Apply(SetRoute{TestNode::kPod, service, std::move(route)});
  const UniqueFd down = brief.Dial(service);
  EXPECT_EQ(ReadOnce(down), -ECONNRESET);
  const ConnectionRecord record = brief.log().Closed(0);
  EXPECT_EQ(record.reason, WEFT_R_TLS_FAILURE);
  EXPECT_NE(record.detail.find("timed out"), std::string::npos);
}

}  // namespace
}  // namespace weft::test
