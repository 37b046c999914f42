#include "proxy/engine.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "test_node.h"

namespace weft::test {
namespace {

constexpr char kClientId[] = "spiffe://cluster.local/ns/default/sa/client";
constexpr char kServerId[] = "spiffe://cluster.local/ns/default/sa/server";

class EngineTest : public testing::Test {
 protected:
  TestCa ca;
  TestNode client{ca, kClientId, "127.0.0.1"};
  TestNode server{ca, kServerId, "127.0.0.2"};
  UniqueFd app = Listen(At("127.0.0.2", 0));
  const SocketAddress service = At("10.96.0.1", 80);

  void SetUp() override { client.RouteTo(service, server, PortOf(app)); }
};

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
  EXPECT_EQ(out.reason, WEFT_R_NONE);
  EXPECT_TRUE(out.established);
  EXPECT_EQ(out.destination, service);
  EXPECT_EQ(out.upstream, server.hbone());
  EXPECT_EQ(out.peer_identity, kServerId);
  EXPECT_EQ(out.request_bytes, 5U);
  EXPECT_EQ(out.response_bytes, 7U);
  EXPECT_EQ(out.endpoint_key, 42U);

  const ConnectionRecord in = server.log().Closed(0);
  EXPECT_EQ(in.reason, WEFT_R_NONE);
  EXPECT_EQ(in.peer_identity, kClientId);
  EXPECT_EQ(in.destination, At("127.0.0.2", PortOf(app)));
  EXPECT_EQ(in.request_bytes, 5U);
  EXPECT_EQ(in.response_bytes, 7U);
  EXPECT_EQ(in.baggage, "k8s.pod.name=127.0.0.1");
  EXPECT_NE(in.forwarded.find("host=server.default.svc.cluster.local"), std::string::npos);
  EXPECT_EQ(in.trace_id, out.trace_id);
}

}  // namespace
}  // namespace weft::test
