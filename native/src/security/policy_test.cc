#include <gtest/gtest.h>

#include "l7.pb.h"
#include "security/policy_program.h"

namespace weft::security {
namespace {

using Policies = std::vector<std::shared_ptr<const PolicyProgram>>;

class FakeToken final : public VerifiedToken {
 public:
  std::string_view issuer() const override { return "iss"; }
  std::string_view subject() const override { return "sub"; }
  std::string_view principal() const override { return "iss/sub"; }
  std::span<const std::string> audiences() const override { return audiences_; }
  std::string_view presenter() const override { return ""; }
  std::vector<std::string> Claim(std::span<const std::string> path) const override {
    if (path.size() == 1 && path[0] == "groups") return {"admin", "dev"};
    return {};
  }

 private:
  std::vector<std::string> audiences_{"web"};
};

l7::Policy Policy(l7::Policy::Action action, const std::string& name = "shop/p") {
  l7::Policy policy;
  policy.set_name(name);
  policy.set_namespace_(name.substr(0, name.find('/')));
  policy.set_action(action);
  return policy;
}

class PolicyTest : public testing::Test {
 protected:
  PolicyTest() : request_(arena_) {
    info_.peer_identity = "spiffe://cluster.local/ns/web/sa/front";
    info_.remote = *SocketAddress::Parse("10.1.2.3:4000");
    request_.method = "GET";
    request_.path = "/admin/x?q=1";
    request_.authority = "Shop.example:8080";
  }
  PolicyDecision Ask(std::initializer_list<l7::Policy> policies, bool dry_run = false) {
    Policies compiled;
    for (const l7::Policy& each : policies) compiled.push_back(*PolicyProgram::Compile(each));
    kept_ = compiled;
    const PolicySubject subject{.connection = info_,
                                .remote = info_.remote.ip,
                                .destination = *SocketAddress::Parse("10.96.0.1:80"),
                                .request = http_ ? &request_ : nullptr,
                                .token = token_};
    return Decide(compiled, subject, dry_run);
  }

  Arena arena_;
  http::RequestHead request_;
  StreamInfo info_;
  FakeToken fake_token_;
  const VerifiedToken* token_ = nullptr;
  bool http_ = true;
  Policies kept_;
};

TEST_F(PolicyTest, WithoutPoliciesEverythingIsAllowed) { EXPECT_TRUE(Ask({}).allowed); }

TEST_F(PolicyTest, AnAllowWithoutRulesDeniesAll) {
  const PolicyDecision decision = Ask({Policy(l7::Policy::ALLOW)});
  EXPECT_FALSE(decision.allowed);
  EXPECT_EQ(decision.Details(), "rbac_access_denied_matched_policy[none]");
}

TEST_F(PolicyTest, AnEmptyRuleMatchesEverything) {
  l7::Policy allow = Policy(l7::Policy::ALLOW), deny = Policy(l7::Policy::DENY, "shop/no");
  allow.add_rules();
  EXPECT_TRUE(Ask({allow}).allowed);
  deny.add_rules();
  const PolicyDecision decision = Ask({allow, deny});
  EXPECT_FALSE(decision.allowed);
  EXPECT_EQ(decision.Details(), "rbac_access_denied_matched_policy[ns[shop]-policy[no]-rule[0]]");
}

TEST_F(PolicyTest, FieldsAreAndedAndValuesOred) {
  l7::Policy allow = Policy(l7::Policy::ALLOW);
  l7::PolicyRule* rule = allow.add_rules();
  rule->add_from()->add_principals()->set_exact("cluster.local/ns/web/sa/front");
  l7::PolicyOperation* to = rule->add_to();
  to->add_methods()->set_exact("POST");
  to->add_methods()->set_exact("GET");
  to->add_paths()->set_prefix("/admin");
  EXPECT_TRUE(Ask({allow}).allowed);
  request_.method = "PUT";
  EXPECT_FALSE(Ask({allow}).allowed);
  request_.method = "get";  // methods are case-sensitive
  EXPECT_FALSE(Ask({allow}).allowed);
}

TEST_F(PolicyTest, WithoutAnIdentityPositiveMatchesFailAndNegativeOnesHold) {
  l7::Policy allow = Policy(l7::Policy::ALLOW), deny = Policy(l7::Policy::DENY);
  allow.add_rules()->add_from()->add_principals()->set_present(true);
  EXPECT_TRUE(Ask({allow}).allowed);
  deny.add_rules()->add_from()->add_not_principals()->set_present(true);
  EXPECT_TRUE(Ask({deny}).allowed);
  info_.peer_identity.clear();
  EXPECT_FALSE(Ask({allow}).allowed);
  EXPECT_FALSE(Ask({deny}).allowed);
}

TEST_F(PolicyTest, HostsIgnoreCaseWhenAsked) {
  l7::Policy allow = Policy(l7::Policy::ALLOW);
  l7::StringMatch* host = allow.add_rules()->add_to()->add_hosts();
  host->set_prefix("shop.example:");
  host->set_ignore_case(true);
  EXPECT_TRUE(Ask({allow}).allowed);
}

TEST_F(PolicyTest, ClaimsAndRequestPrincipalsNeedAToken) {
  l7::Policy allow = Policy(l7::Policy::ALLOW), deny = Policy(l7::Policy::DENY, "shop/no-token");
  l7::PolicyRule* rule = allow.add_rules();
  l7::PolicyCondition* when = rule->add_when();
  when->set_key(l7::PolicyCondition::REQUEST_CLAIM);
  when->add_claim("groups");
  when->add_values()->set_exact("admin");
  EXPECT_FALSE(Ask({allow}).allowed);
  deny.add_rules()->add_from()->add_not_request_principals()->set_present(true);
  EXPECT_FALSE(Ask({deny}).allowed);
  token_ = &fake_token_;
  EXPECT_TRUE(Ask({allow}).allowed);
  EXPECT_TRUE(Ask({deny}).allowed);
}

TEST_F(PolicyTest, AHeaderOfSeveralLinesCannotPassADeny) {
  l7::Policy deny = Policy(l7::Policy::DENY);
  l7::PolicyCondition* when = deny.add_rules()->add_when();
  when->set_key(l7::PolicyCondition::REQUEST_HEADER);
  when->set_header("x-role");
  when->add_values()->set_exact("guest");
  EXPECT_TRUE(Ask({deny}).allowed);
  request_.headers.Add("x-role", "user");
  request_.headers.Add("x-role", "guest");
  EXPECT_FALSE(Ask({deny}).allowed);
}

TEST_F(PolicyTest, OnTcpHttpConditionsMakeAllowStricterAndDenyWider) {
  l7::Policy allow = Policy(l7::Policy::ALLOW), deny = Policy(l7::Policy::DENY);
  allow.add_rules()->add_to()->add_methods()->set_exact("GET");
  EXPECT_TRUE(Ask({allow}).allowed);
  deny.add_rules()->add_to()->add_methods()->set_exact("POST");
  EXPECT_TRUE(Ask({deny}).allowed);
  http_ = false;
  EXPECT_FALSE(Ask({allow}).allowed);
  EXPECT_FALSE(Ask({deny}).allowed);
}

TEST_F(PolicyTest, AddressesAndPorts) {
  l7::Policy allow = Policy(l7::Policy::ALLOW);
  l7::PolicyRule* rule = allow.add_rules();
  l7::Cidr* block = rule->add_from()->add_ip_blocks();
  block->set_ip("10.1.0.0");
  block->set_length(16);
  rule->add_to()->add_ports(80);
  EXPECT_TRUE(Ask({allow}).allowed);
  block->set_length(24);
  EXPECT_FALSE(Ask({allow}).allowed);
  block->set_length(33);
  EXPECT_FALSE(PolicyProgram::Compile(allow).has_value());
}

TEST_F(PolicyTest, DryRunPoliciesDecideOnlyAmongThemselves) {
  l7::Policy deny = Policy(l7::Policy::DENY);
  deny.add_rules();
  deny.set_dry_run(true);
  EXPECT_TRUE(Ask({deny}).allowed);
  EXPECT_FALSE(Ask({deny}, true).allowed);
}

TEST_F(PolicyTest, TriedPoliciesSayWhatTheyWouldHaveDone) {
  const PolicySubject subject{.connection = info_,
                              .remote = info_.remote.ip,
                              .destination = *SocketAddress::Parse("10.96.0.1:80"),
                              .request = &request_,
                              .token = nullptr};
  const auto tried = [&](const l7::Policy& policy) {
    const PolicyAction action = policy.action() == l7::Policy::DENY ? PolicyAction::kDeny : PolicyAction::kAllow;
    return DryRunResult({*PolicyProgram::Compile(policy)}, subject, action);
  };
  l7::Policy deny = Policy(l7::Policy::DENY, "shop/no"), allow = Policy(l7::Policy::ALLOW, "shop/yes");
  deny.add_rules();
  EXPECT_EQ(tried(deny), "");
  deny.set_dry_run(true);
  EXPECT_EQ(tried(deny), "denied ns[shop]-policy[no]-rule[0]");
  deny.mutable_rules(0)->add_to()->add_ports(81);
  EXPECT_EQ(tried(deny), "allowed");
  allow.set_dry_run(true);
  EXPECT_EQ(tried(allow), "denied");
  allow.add_rules();
  EXPECT_EQ(tried(allow), "allowed ns[shop]-policy[yes]-rule[0]");
}

TEST_F(PolicyTest, ABadRegexRefusesThePolicyByName) {
  l7::Policy allow = Policy(l7::Policy::ALLOW);
  allow.add_rules()->add_to()->add_paths()->set_regex("(");
  const auto compiled = PolicyProgram::Compile(allow);
  ASSERT_FALSE(compiled.has_value());
  EXPECT_NE(compiled.error().what.find("shop/p"), std::string::npos);
}

}  // namespace
}  // namespace weft::security
