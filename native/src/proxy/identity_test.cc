// Mutual TLS between two engines: who is let in, and what a change of certificates does.
#include <gtest/gtest.h>

#include "test_mesh.h"

namespace weft::test {
namespace {

class IdentityTest : public MeshTest {
 protected:
  // A client whose certificate is `svid` must not get through.
  void ExpectRefused(TestNode& node) {
    node.RouteTo(service, server, PortOf(app));
    const UniqueFd down = node.Dial(service);
    EXPECT_EQ(ReadOnce(down), -ECONNRESET);
    EXPECT_EQ(node.log().Closed(0).reason, WEFT_R_TLS_FAILURE) << node.log().Closed(0).detail;
    EXPECT_EQ(server.log().Closed(0).reason, WEFT_R_TLS_FAILURE) << server.log().Closed(0).detail;
  }
};

TEST_F(IdentityTest, AServerThatIsSomebodyElseIsRefused) {
  client.RouteTo(service, server, PortOf(app), {"spiffe://cluster.local/ns/default/sa/other"});
  const UniqueFd down = client.Dial(service);
  EXPECT_EQ(ReadOnce(down), -ECONNRESET);
  const ConnectionRecord record = client.log().Closed(0);
  EXPECT_EQ(record.reason, WEFT_R_TLS_FAILURE);
  EXPECT_NE(record.detail.find(kServerId), std::string::npos) << record.detail;
}

TEST_F(IdentityTest, OneOfSeveralExpectedIdentitiesIsEnough) {
  client.RouteTo(service, server, PortOf(app), {"spiffe://cluster.local/ns/default/sa/other", kServerId});
  const UniqueFd down = client.Dial(service);
  EXPECT_TRUE(Accept(app));
}

TEST_F(IdentityTest, AClientOfAnotherAuthorityIsRefused) {
  const TestCa other;
  TestNode stranger{other, kClientId, "127.0.0.3"};
  // It trusts the server, so that the server alone decides.
  stranger.SetIdentity(other.Issue(kClientId), ca.roots());
  ExpectRefused(stranger);
}

TEST_F(IdentityTest, AClientOfAnotherTrustDomainIsRefused) {
  TestNode stranger{ca, "spiffe://elsewhere.example/ns/default/sa/client", "127.0.0.3"};
  ExpectRefused(stranger);
}

TEST_F(IdentityTest, AnExpiredClientIsRefused) {
  TestNode late{ca, kClientId, "127.0.0.3"};
  late.SetIdentity(
      ca.Issue(SvidOptions{.uris = {kClientId}, .dns_names = {}, .not_before_s = -100, .not_after_s = -10}),
      ca.roots());
  ExpectRefused(late);
}

TEST_F(IdentityTest, ACertificateForSomebodyElseIsNotTaken) {
  const Svid svid = ca.Issue("spiffe://cluster.local/ns/default/sa/other");
  std::vector<Command> commands;
  commands.push_back(SetIdentity{kClientId, svid.chain, svid.key, ca.roots(), {}});
  EXPECT_FALSE(client.engine().Apply(std::move(commands)));
}

TEST_F(IdentityTest, AKeyThatDoesNotFitIsNotTaken) {
  std::vector<Command> commands;
  commands.push_back(SetIdentity{kClientId, ca.Issue(kClientId).chain, ca.Issue(kClientId).key, ca.roots(), {}});
  EXPECT_FALSE(client.engine().Apply(std::move(commands)));
}

TEST_F(IdentityTest, ARenewedCertificateIsUsedByNewConnectionsAndKeepsOldOnes) {
  UniqueFd old_down = client.Dial(service);
  UniqueFd old_up = Accept(app);
  ASSERT_TRUE(old_up);
  client.SetIdentity(ca.Issue(kClientId), ca.roots());
  server.SetIdentity(ca.Issue(kServerId), ca.roots());
  UniqueFd down = client.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(up);
  ASSERT_TRUE(SendAll(old_down, "old"));
  EXPECT_EQ(ReadN(old_up, 3), "old");
  ASSERT_TRUE(SendAll(down, "new"));
  EXPECT_EQ(ReadN(up, 3), "new");
}

TEST_F(IdentityTest, LiveTunnelsEndWhenTheirPeersAuthorityIsNoLongerTrusted) {
  UniqueFd down = client.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(up);
  const TestCa other;
  server.SetIdentity(other.Issue(kServerId), other.roots());
  EXPECT_EQ(ReadOnce(up), -ECONNRESET);
  EXPECT_EQ(server.log().Closed(0).reason, WEFT_R_CERT_REVOKED);
}

TEST_F(IdentityTest, RemovingTheIdentityEndsWhatDependsOnIt) {
  UniqueFd down = client.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(up);
  client.Apply(RemoveIdentity{kClientId});
  EXPECT_EQ(ReadOnce(down), -ECONNRESET);
  EXPECT_EQ(ReadOnce(up), -ECONNRESET);
  EXPECT_EQ(client.log().Closed(0).reason, WEFT_R_IDENTITY_ERROR);
}

}  // namespace
}  // namespace weft::test
