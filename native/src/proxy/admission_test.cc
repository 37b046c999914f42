// Policies on inbound connections, at the first check and while connections are open.
#include "proxy/admission.h"

#include <gtest/gtest.h>

#include "test_mesh.h"

namespace weft::test {
namespace {

NamedPolicy PolicyOn(const char* name, Policy::Action action, PolicyMatch match, bool dry_run = false) {
  NamedPolicy named;
  named.name = name;
  named.policy.action = action;
  named.policy.dry_run = dry_run;
  named.policy.rules = {PolicyRule{{PolicyClause{{std::move(match)}}}}};
  return named;
}

PolicyMatch Principal(const char* principal) {
  PolicyMatch match;
  match.principals = {{StringMatch::Kind::kExact, principal}};
  return match;
}

PolicyMatch Anonymous() {
  PolicyMatch match;
  match.not_principals = {{StringMatch::Kind::kPresence, ""}};
  return match;
}

class AdmissionTest : public MeshTest {};

TEST_F(AdmissionTest, ADeniedPeerGets401AndThePolicyIsNamed) {
  server.SetPolicies(
      {PolicyOn("default/deny-client", Policy::Action::kDeny, Principal("cluster.local/ns/default/sa/client"))});
  const UniqueFd down = client.Dial(service);
  EXPECT_EQ(ReadOnce(down), -ECONNRESET);
  EXPECT_NE(client.log().Closed(0).detail.find("401"), std::string::npos);
  const ConnectionRecord in = server.log().Closed(0);
  EXPECT_EQ(in.reason, WEFT_R_POLICY_DENIED);
  EXPECT_EQ(in.policy, "default/deny-client");
  EXPECT_EQ(in.peer_identity, kClientId);
}

TEST_F(AdmissionTest, RefusalsBeyondAPeersShareAreCountedOnly) {
  EngineLimits limits = TestLimits();
  limits.loops = 1;
  limits.refusals_burst = 3;
  limits.refusals_per_second = 0;
  TestNode strict{ca, kServerId, "127.0.0.4", limits};
  strict.SetPolicies(
      {PolicyOn("default/deny-client", Policy::Action::kDeny, Principal("cluster.local/ns/default/sa/client"))});
  client.RouteTo(service, strict, PortOf(app));
  for (int i = 0; i < 10; ++i) {
    const UniqueFd down = client.Dial(service);
    EXPECT_EQ(ReadOnce(down), -ECONNRESET);
  }
  EXPECT_EQ(strict.count(WEFT_R_POLICY_DENIED), 10U);
  EXPECT_EQ(strict.count(WEFT_R_EVENT_LOST), 7U);
  EXPECT_EQ(strict.log().Closed(2).reason, WEFT_R_POLICY_DENIED);
  EXPECT_EQ(strict.log().closed().size(), 3U);
}

TEST_F(AdmissionTest, WhenNoAllowMatchesThePolicyIsEmpty) {
  server.SetPolicies(
      {PolicyOn("default/allow-other", Policy::Action::kAllow, Principal("cluster.local/ns/default/sa/other"))});
  const UniqueFd down = client.Dial(service);
  EXPECT_EQ(ReadOnce(down), -ECONNRESET);
  EXPECT_EQ(server.log().Closed(0).policy, "");
}

TEST_F(AdmissionTest, AChangedPolicyEndsExactlyTheForbiddenConnections) {
  TestNode other{ca, "spiffe://cluster.local/ns/default/sa/other", "127.0.0.3"};
  other.RouteTo(service, server, PortOf(app));
  UniqueFd client_down = client.Dial(service);
  UniqueFd client_up = Accept(app);
  UniqueFd other_down = other.Dial(service);
  UniqueFd other_up = Accept(app);
  ASSERT_TRUE(other_up);
  server.SetPolicies(
      {PolicyOn("default/allow-other", Policy::Action::kAllow, Principal("cluster.local/ns/default/sa/other"))});
  EXPECT_EQ(ReadOnce(client_up), -ECONNRESET);
  EXPECT_EQ(ReadOnce(client_down), -ECONNRESET);
  EXPECT_EQ(server.log().Closed(0).reason, WEFT_R_POLICY_CHANGED);
  ASSERT_TRUE(SendAll(other_down, "x"));
  EXPECT_EQ(ReadN(other_up, 1), "x");
}

TEST_F(AdmissionTest, APolicyThatIsNotKnownYetRefuses) {
  server.Apply(SetPodPolicies{TestNode::kPod, {"default/to-come"}});
  const UniqueFd down = client.Dial(service);
  EXPECT_EQ(ReadOnce(down), -ECONNRESET);
  EXPECT_EQ(server.log().Closed(0).policy, "default/to-come");
  server.SetPolicies(
      {PolicyOn("default/to-come", Policy::Action::kDeny, Principal("cluster.local/ns/default/sa/other"))});
  const UniqueFd again = client.Dial(service);
  EXPECT_TRUE(Accept(app));
}

TEST_F(AdmissionTest, ARemovedPolicyThatIsStillInForceRefuses) {
  server.SetPolicies(
      {PolicyOn("default/deny-other", Policy::Action::kDeny, Principal("cluster.local/ns/default/sa/other"))});
  UniqueFd down = client.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(up);
  server.Apply(RemovePolicy{"default/deny-other"});
  EXPECT_EQ(ReadOnce(up), -ECONNRESET);
}

TEST_F(AdmissionTest, ADryRunPolicyIsReportedAndNotEnforced) {
  server.SetPolicies(
      {PolicyOn("default/trial", Policy::Action::kDeny, Principal("cluster.local/ns/default/sa/client"), true)});
  const UniqueFd down = client.Dial(service);
  ASSERT_TRUE(Accept(app));
  ASSERT_TRUE(Eventually([&] { return !server.log().dry_runs().empty(); }));
  EXPECT_EQ(server.log().dry_runs()[0].policy, "default/trial");
  EXPECT_EQ(server.log().dry_runs()[0].peer_identity, kClientId);
}

TEST_F(AdmissionTest, PlaintextIsRefusedUnderStrict) {
  server.SetPolicies({PolicyOn("istio-system/strict", Policy::Action::kDeny, Anonymous())});
  const UniqueFd plain = Connect(server.plaintext());
  EXPECT_EQ(ReadOnce(plain), -ECONNRESET);
  const ConnectionRecord record = server.log().Closed(0);
  EXPECT_EQ(record.path, Path::kInboundPlaintext);
  EXPECT_EQ(record.reason, WEFT_R_POLICY_DENIED);
  EXPECT_EQ(record.policy, "istio-system/strict");
  const UniqueFd down = client.Dial(service);
  EXPECT_TRUE(Accept(app)) << "mTLS still gets in";
}

}  // namespace
}  // namespace weft::test
