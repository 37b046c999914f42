// Two engines on loopback: what an application at either end sees, and what the records say.
#include "proxy/engine.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <future>

#include "test_mesh.h"

namespace weft::test {
namespace {

class EngineTest : public MeshTest {};

TEST_F(EngineTest, CarriesBytesBothWaysThroughATunnelAndRecordsThem) {
  UniqueFd down = client.Dial(service);
  ASSERT_TRUE(down);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(up);
  ASSERT_TRUE(SendAll(down, "hello"));
  EXPECT_EQ(ReadN(up, 5), "hello");
  ASSERT_TRUE(SendAll(up, "welcome"));
  EXPECT_EQ(ReadN(down, 7), "welcome");
  down.Reset();
  EXPECT_EQ(ReadToEnd(up), "");
  up.Reset();

  const ConnectionRecord out = client.log().Closed(0);
  EXPECT_EQ(out.reason, WEFT_R_NONE) << out.detail;
  EXPECT_TRUE(out.established);
  EXPECT_EQ(out.destination, service);
  EXPECT_EQ(out.upstream, server.hbone());
  EXPECT_EQ(out.peer_identity, kServerId);
  EXPECT_EQ(out.request_bytes, 5U);
  EXPECT_EQ(out.response_bytes, 7U);
  EXPECT_EQ(out.endpoint_key, 42U);

  const ConnectionRecord in = server.log().Closed(0);
  EXPECT_EQ(in.reason, WEFT_R_NONE) << in.detail;
  EXPECT_EQ(in.peer_identity, kClientId);
  EXPECT_EQ(in.destination, At("127.0.0.2", PortOf(app)));
  EXPECT_EQ(in.request_bytes, 5U);
  EXPECT_EQ(in.response_bytes, 7U);
  EXPECT_EQ(in.baggage, "k8s.pod.name=127.0.0.1");
  EXPECT_NE(in.forwarded.find("for=\"127.0.0.1:"), std::string::npos);
  EXPECT_NE(in.forwarded.find(";host=server.default.svc.cluster.local"), std::string::npos);
  EXPECT_EQ(in.trace_id, out.trace_id);
}

TEST_F(EngineTest, CarriesMegabytesUnchangedBothWaysAtOnce) {
  UniqueFd down = client.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(up);
  const std::string request = Noise(20 << 20, 1);
  const std::string response = Noise(15 << 20, 2);
  auto send_request = std::async(std::launch::async, [&] { return SendAll(down, request); });
  auto send_response = std::async(std::launch::async, [&] { return SendAll(up, response); });
  auto read_request = std::async(std::launch::async, [&] { return ReadN(up, request.size()); });
  EXPECT_TRUE(ReadN(down, response.size()) == response);
  EXPECT_TRUE(read_request.get() == request);
  EXPECT_TRUE(send_request.get());
  EXPECT_TRUE(send_response.get());
}

TEST_F(EngineTest, AClientThatHalfClosesStillGetsTheWholeAnswer) {
  UniqueFd down = client.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(SendAll(down, "question"));
  shutdown(down.get(), SHUT_WR);
  EXPECT_EQ(ReadToEnd(up), "question");
  const std::string answer = Noise(1 << 20, 3);
  auto sent = std::async(std::launch::async, [&] {
    const bool ok = SendAll(up, answer);
    up.Reset();
    return ok;
  });
  EXPECT_TRUE(ReadToEnd(down) == answer);
  EXPECT_TRUE(sent.get());
  EXPECT_EQ(client.log().Closed(0).reason, WEFT_R_NONE);
}

TEST_F(EngineTest, AServerThatHalfClosesFirstStillGetsTheRest) {
  UniqueFd down = client.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(SendAll(up, "banner"));
  shutdown(up.get(), SHUT_WR);
  EXPECT_EQ(ReadToEnd(down), "banner");
  ASSERT_TRUE(SendAll(down, "late"));
  down.Reset();
  EXPECT_EQ(ReadToEnd(up), "late");
  EXPECT_EQ(server.log().Closed(0).reason, WEFT_R_NONE);
}

TEST_F(EngineTest, AResetOfTheClientReachesTheServerAsAReset) {
  UniqueFd down = client.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(SendAll(down, "x"));
  EXPECT_EQ(ReadN(up, 1), "x");
  CloseWithReset(down);
  EXPECT_EQ(ReadOnce(up), -ECONNRESET);
  EXPECT_EQ(client.log().Closed(0).reason, WEFT_R_PEER_RESET);
  EXPECT_EQ(server.log().Closed(0).reason, WEFT_R_PEER_RESET);
}

TEST_F(EngineTest, AResetOfTheServerReachesTheClientAsAReset) {
  UniqueFd down = client.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(SendAll(down, "x"));
  EXPECT_EQ(ReadN(up, 1), "x");
  CloseWithReset(up);
  EXPECT_EQ(ReadOnce(down), -ECONNRESET);
}

TEST_F(EngineTest, AnApplicationThatRefusesIsARefusalForTheClient) {
  const uint16_t port = PortOf(app);
  app.Reset();
  UniqueFd down = client.Dial(service);
  EXPECT_EQ(ReadOnce(down), -ECONNRESET);
  const ConnectionRecord out = client.log().Closed(0);
  EXPECT_EQ(out.reason, WEFT_R_TUNNEL_REFUSED);
  EXPECT_NE(out.detail.find("503"), std::string::npos) << out.detail;
  EXPECT_FALSE(out.established);
  EXPECT_EQ(server.log().Closed(0).reason, WEFT_R_UPSTREAM_REFUSED);
  EXPECT_EQ(server.log().Closed(0).destination, At("127.0.0.2", port));
}

TEST_F(EngineTest, TheApplicationIsDialledInTheNameOfTheTunnelsPeer) {
  UniqueFd down = client.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(up);
  ASSERT_EQ(server.capture().announced().size(), 1U);
  EXPECT_EQ(server.capture().announced()[0].ip, At("127.0.0.1", 0).ip);
}

TEST_F(EngineTest, ConnectionsOfOneLoopShareOneTunnel) {
  const EngineLimits one_loop = [] {
    EngineLimits limits = TestLimits();
    limits.loops = 1;
    return limits;
  }();
  TestNode single{ca, kClientId, "127.0.0.3", one_loop};
  single.RouteTo(service, server, PortOf(app));
  std::vector<UniqueFd> open;
  for (int i = 0; i < 50; ++i) {
    open.push_back(single.Dial(service));
    open.push_back(Accept(app));
    ASSERT_TRUE(open.back());
  }
  EXPECT_EQ(single.stats().open_tunnels, 1U);
  EXPECT_EQ(single.stats().open_connections, 50U);
}

TEST_F(EngineTest, ATunnelThatIsFullGetsASecondOne) {
  EngineLimits limits = TestLimits();
  limits.loops = 1;
  limits.max_streams_per_connection = 10;
  TestNode single{ca, kClientId, "127.0.0.3", limits};
  single.RouteTo(service, server, PortOf(app));
  std::vector<UniqueFd> open;
  for (int i = 0; i < 25; ++i) {
    open.push_back(single.Dial(service));
    open.push_back(Accept(app));
    ASSERT_TRUE(open.back());
  }
  EXPECT_EQ(single.stats().open_tunnels, 3U);
}

TEST_F(EngineTest, SixteenConnectionsUseAllLoops) {
  std::vector<UniqueFd> open;
  for (int i = 0; i < 16; ++i) {
    open.push_back(client.Dial(service));
    open.push_back(Accept(app));
    ASSERT_TRUE(open.back());
  }
  EXPECT_EQ(client.stats().open_tunnels, 2U);
}

TEST_F(EngineTest, AnUnusedTunnelIsReleased) {
  EngineLimits limits = TestLimits();
  limits.pool_unused_release_ms = 50;
  TestNode brief{ca, kClientId, "127.0.0.3", limits};
  brief.RouteTo(service, server, PortOf(app));
  UniqueFd down = brief.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(up);
  EXPECT_EQ(brief.stats().open_tunnels, 1U);
  down.Reset();
  up.Reset();
  EXPECT_TRUE(Eventually([&] { return brief.stats().open_tunnels == 0; }));
}

TEST_F(EngineTest, RemovingAPodEndsItsConnectionsAndFreesItsPorts) {
  UniqueFd down = client.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(up);
  client.engine().RemovePod(TestNode::kPod);
  EXPECT_EQ(ReadOnce(down), -ECONNRESET);
  EXPECT_EQ(ReadOnce(up), -ECONNRESET);
  EXPECT_EQ(client.log().Closed(0).reason, WEFT_R_POD_REMOVED);
  EXPECT_EQ(client.stats().open_connections, 0U);
  EXPECT_EQ(client.stats().open_tunnels, 0U);
}

TEST_F(EngineTest, LiveConnectionsAreListed) {
  UniqueFd down = client.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(SendAll(up, "12345"));
  EXPECT_EQ(ReadN(down, 5), "12345");
  const std::vector<ConnectionRecord> live = client.engine().Connections();
  ASSERT_EQ(live.size(), 1U);
  EXPECT_TRUE(live[0].established);
  EXPECT_EQ(live[0].response_bytes, 5U);
  EXPECT_EQ(live[0].destination, service);
}

TEST_F(EngineTest, ABadCommandLeavesTheTablesAsTheyWere) {
  std::vector<Command> commands;
  commands.push_back(SetPodPolicies{TestNode::kPod, {"default/unknown"}});
  commands.push_back(SetIdentity{kServerId, "nonsense", "nonsense", "nonsense", {}});
  EXPECT_FALSE(server.engine().Apply(std::move(commands)));
  UniqueFd down = client.Dial(service);
  EXPECT_TRUE(Accept(app));
}

TEST_F(EngineTest, DrainLetsOpenConnectionsFinishAndTakesNoNewOnes) {
  UniqueFd down = client.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(up);
  std::promise<void> done;
  server.engine().Drain(10'000, [&] { done.set_value(); });
  ASSERT_TRUE(SendAll(down, "still"));
  EXPECT_EQ(ReadN(up, 5), "still");
  UniqueFd late = client.Dial(service);
  EXPECT_NE(ReadOnce(late), 1);
  down.Reset();
  up.Reset();
  EXPECT_EQ(done.get_future().wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(server.log().Closed(0).reason, WEFT_R_NONE);
}

TEST_F(EngineTest, DrainEndsWhatIsLeftAtTheDeadline) {
  UniqueFd down = client.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(up);
  std::promise<void> done;
  client.engine().Drain(50, [&] { done.set_value(); });
  EXPECT_EQ(done.get_future().wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(ReadOnce(down), -ECONNRESET);
  EXPECT_EQ(client.log().Closed(0).reason, WEFT_R_DRAINED);
}

}  // namespace
}  // namespace weft::test
