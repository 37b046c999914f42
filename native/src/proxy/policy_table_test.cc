// Questions about policies that no loop is asked.
#include "proxy/policy_table.h"

#include <gtest/gtest.h>

#include "test_mesh.h"

namespace weft::test {
namespace {

constexpr PodId kNobody = 99;

std::shared_ptr<const NamedPolicy> DenyOf(const char* name, const char* principal, bool dry_run = false) {
  auto named = std::make_shared<NamedPolicy>();
  named->name = name;
  named->policy.action = Policy::Action::kDeny;
  named->policy.dry_run = dry_run;
  PolicyMatch match;
  match.principals = {{StringMatch::Kind::kExact, principal}};
  named->policy.rules = {PolicyRule{{PolicyClause{{std::move(match)}}}}};
  return named;
}

class PolicyTableTest : public testing::Test {
 protected:
  TestCa ca;
  TestNode node{ca, kServerId, "127.0.0.2"};
  const std::optional<SpiffeId> client = SpiffeId::Parse(kClientId);

  PolicyAnswer Ask(PodId pod = TestNode::kPod) {
    return node.engine().Evaluate(pod, {&*client, *IpAddress::Parse("10.0.0.1"), *IpAddress::Parse("10.0.0.2"), 80});
  }
};

TEST_F(PolicyTableTest, APodThatIsNotThereAdmitsNobody) {
  EXPECT_TRUE(Ask().allowed);
  EXPECT_FALSE(Ask(kNobody).allowed);
  node.Apply(SetPodPolicies{kNobody, {}});
  EXPECT_FALSE(Ask(kNobody).allowed);
  node.engine().RemovePod(TestNode::kPod);
  EXPECT_FALSE(Ask().allowed);
}

TEST_F(PolicyTableTest, AnswersByWhatWasAppliedLast) {
  node.Apply(SetPodPolicies{TestNode::kPod, {"default/no"}});
  EXPECT_FALSE(Ask().allowed);
  EXPECT_EQ(Ask().policy, "default/no") << "it has not come yet";
  node.Apply(SetPolicy{DenyOf("default/no", "cluster.local/ns/default/sa/other")});
  EXPECT_TRUE(Ask().allowed);
  EXPECT_EQ(Ask().policy, std::nullopt);
  node.Apply(SetPolicy{DenyOf("default/no", "cluster.local/ns/default/sa/client")});
  EXPECT_FALSE(Ask().allowed);
  EXPECT_EQ(Ask().policy, "default/no");
  node.Apply(RemovePolicy{"default/no"});
  EXPECT_FALSE(Ask().allowed);
  node.Apply(SetPodPolicies{TestNode::kPod, {}});
  EXPECT_TRUE(Ask().allowed);
}

TEST_F(PolicyTableTest, ABatchThatIsRefusedChangesNothing) {
  auto route = std::make_shared<Route>();
  route->kind = Route::Kind::kEndpoints;
  route->endpoints.emplace_back().tunnel = true;
  std::vector<Command> commands;
  commands.push_back(SetPodPolicies{TestNode::kPod, {"default/unknown"}});
  commands.push_back(SetRoute{TestNode::kPod, At("10.0.0.1", 80), std::move(route)});
  EXPECT_FALSE(node.engine().Apply(std::move(commands)));
  EXPECT_TRUE(Ask().allowed);
}

TEST_F(PolicyTableTest, NamesDryRunsThatWouldHaveDenied) {
  node.Apply(SetPolicy{DenyOf("default/trial", "cluster.local/ns/default/sa/client", true)});
  node.Apply(SetPodPolicies{TestNode::kPod, {"default/trial"}});
  EXPECT_TRUE(Ask().allowed);
  EXPECT_EQ(Ask().dry_run, std::vector<std::string>{"default/trial"});
}

}  // namespace
}  // namespace weft::test
