#include "policy/evaluate.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weft {
namespace {

using Action = Policy::Action;
using Kind = StringMatch::Kind;

IpAddress Ip(std::string_view text) { return IpAddress::Parse(text).value(); }

PolicyRule RuleOf(PolicyMatch match) { return {{{{std::move(match)}}}}; }

NamedPolicy Named(std::string name, Action action, std::vector<PolicyRule> rules, bool dry_run = false) {
  return {std::move(name), {action, dry_run, std::move(rules)}};
}

class EvaluateTest : public testing::Test {
 protected:
  // The verdict's view stays valid until the next call.
  Verdict Decide(std::vector<NamedPolicy> policies, const PeerInfo& peer) {
    policies_ = std::move(policies);
    pointers_.clear();
    dry_runs_.clear();
    for (const NamedPolicy& p : policies_) pointers_.push_back(&p);
    return Evaluate(pointers_, peer, &dry_runs_);
  }
  bool MatchHolds(PolicyMatch match) {
    return Matches(Policy{Action::kAllow, false, {RuleOf(std::move(match))}}, web_);
  }

  const SpiffeId id_ = SpiffeId::Parse("spiffe://cluster.local/ns/shop/sa/web").value();
  const PeerInfo web_{&id_, Ip("10.0.1.7"), Ip("10.0.2.9"), 8080};
  const PeerInfo plain_{nullptr, Ip("10.0.1.7"), Ip("10.0.2.9"), 8080};
  const PolicyRule everyone_{};
  std::vector<NamedPolicy> policies_;
  std::vector<const NamedPolicy*> pointers_;
  std::vector<const NamedPolicy*> dry_runs_;
};

TEST_F(EvaluateTest, NoPolicyAllows) {
  const Verdict verdict = Decide({}, plain_);
  EXPECT_TRUE(verdict.allowed);
  EXPECT_EQ(verdict.policy, "");
}

TEST_F(EvaluateTest, APolicyWithoutRulesNeverMatches) {
  EXPECT_TRUE(Decide({Named("a/deny-nothing", Action::kDeny, {})}, web_).allowed);
  // The usual "allow nothing": an ALLOW exists and cannot match.
  EXPECT_FALSE(Decide({Named("a/allow-nothing", Action::kAllow, {})}, web_).allowed);
}

TEST_F(EvaluateTest, ARuleWithoutClausesAlwaysMatches) {
  const Verdict verdict = Decide({Named("a/deny-all", Action::kDeny, {everyone_})}, plain_);
  EXPECT_FALSE(verdict.allowed);
  EXPECT_EQ(verdict.policy, "a/deny-all");
}

TEST_F(EvaluateTest, AClauseWithoutMatchesHoldsAndOneOfEmptyMatchesDoesNot) {
  EXPECT_TRUE(Matches({Action::kAllow, false, {{{PolicyClause{}}}}}, web_));
  EXPECT_FALSE(MatchHolds({}));
}

TEST_F(EvaluateTest, DenyBeatsAllow) {
  const Verdict verdict =
      Decide({Named("a/allow", Action::kAllow, {everyone_}), Named("a/deny", Action::kDeny, {everyone_})}, web_);
  EXPECT_FALSE(verdict.allowed);
  EXPECT_EQ(verdict.policy, "a/deny");
}

TEST_F(EvaluateTest, AnAllowThatMatchesIsNamed) {
  const Verdict verdict =
      Decide({Named("a/no", Action::kAllow, {}), Named("a/yes", Action::kAllow, {everyone_})}, web_);
  EXPECT_TRUE(verdict.allowed);
  EXPECT_EQ(verdict.policy, "a/yes");
}

TEST_F(EvaluateTest, StrictDeniesPlaintextOnly) {
  // What PeerAuthentication STRICT is converted to.
  PolicyMatch no_principal;
  no_principal.not_principals = {{Kind::kPresence, ""}};
  const std::vector<NamedPolicy> strict = {Named("istio-system/strict", Action::kDeny, {RuleOf(no_principal)})};
  EXPECT_FALSE(Decide(strict, plain_).allowed);
  EXPECT_TRUE(Decide(strict, web_).allowed);
}

TEST_F(EvaluateTest, PrincipalsAreComparedWithoutScheme) {
  PolicyMatch match;
  match.principals = {{Kind::kExact, "cluster.local/ns/shop/sa/web"}};
  EXPECT_TRUE(MatchHolds(match));
  match.principals = {{Kind::kExact, "spiffe://cluster.local/ns/shop/sa/web"}};
  EXPECT_FALSE(MatchHolds(match));
  match.principals = {{Kind::kPrefix, "cluster.local/ns/shop/"}};
  EXPECT_TRUE(MatchHolds(match));
  match.principals = {{Kind::kSuffix, "/sa/web"}};
  EXPECT_TRUE(MatchHolds(match));
  match.principals = {{Kind::kSuffix, "/sa/we"}};
  EXPECT_FALSE(MatchHolds(match));
}

TEST_F(EvaluateTest, WithoutIdentityNoPrincipalAndNoServiceAccountMatches) {
  PolicyMatch match;
  match.principals = {{Kind::kPrefix, ""}};
  EXPECT_FALSE(Matches({Action::kAllow, false, {RuleOf(match)}}, plain_));
  match = {};
  match.service_accounts = {{"", ""}};
  EXPECT_FALSE(Matches({Action::kAllow, false, {RuleOf(match)}}, plain_));
  match = {};
  match.not_namespaces = {{Kind::kExact, "shop"}};
  EXPECT_TRUE(Matches({Action::kAllow, false, {RuleOf(match)}}, plain_));
  match.not_namespaces = {{Kind::kExact, ""}};
  EXPECT_FALSE(Matches({Action::kAllow, false, {RuleOf(match)}}, plain_));
}

TEST_F(EvaluateTest, ServiceAccountsIgnoreTheTrustDomainButNotTheNamespace) {
  PolicyMatch match;
  match.service_accounts = {{"shop", "web"}};
  EXPECT_TRUE(MatchHolds(match));
  match.service_accounts = {{"other", "web"}};
  EXPECT_FALSE(MatchHolds(match));
  match.service_accounts = {{"shop.web", ""}, {"shop", "we.b"}};
  EXPECT_FALSE(MatchHolds(match));
}

TEST_F(EvaluateTest, BlocksMatchInTheirOwnFamily) {
  const auto holds = [&](std::string_view block, unsigned length, std::string_view source) {
    PolicyMatch match;
    match.source_ips = {{Ip(block), static_cast<uint8_t>(length)}};
    return Matches({Action::kAllow, false, {RuleOf(match)}}, {&id_, Ip(source), Ip("10.0.2.9"), 8080});
  };
  EXPECT_TRUE(holds("10.0.0.0", 8, "10.255.255.255"));
  EXPECT_FALSE(holds("10.0.0.0", 8, "11.0.0.0"));
  EXPECT_TRUE(holds("10.0.1.6", 31, "10.0.1.7"));
  EXPECT_FALSE(holds("10.0.1.6", 32, "10.0.1.7"));
  EXPECT_TRUE(holds("0.0.0.0", 0, "192.0.2.1"));
  EXPECT_FALSE(holds("0.0.0.0", 0, "2001:db8::1"));
  EXPECT_FALSE(holds("::", 0, "192.0.2.1"));
  EXPECT_TRUE(holds("::", 0, "2001:db8::1"));
  EXPECT_TRUE(holds("2001:db8::", 33, "2001:db8:7fff::1"));
  EXPECT_FALSE(holds("2001:db8::", 33, "2001:db8:8000::1"));
  EXPECT_TRUE(holds("2001:db8::1", 128, "2001:db8::1"));
  EXPECT_FALSE(holds("10.0.0.0", 33, "10.0.0.0"));
}

TEST_F(EvaluateTest, KindsAreAndedAndNegationsExclude) {
  PolicyMatch match;
  match.namespaces = {{Kind::kExact, "shop"}};
  match.destination_ports = {80, 8080};
  EXPECT_TRUE(MatchHolds(match));
  match.not_destination_ports = {8080};
  EXPECT_FALSE(MatchHolds(match));
  match.not_destination_ports = {9090};
  match.not_source_ips = {{Ip("10.0.1.0"), 24}};
  EXPECT_FALSE(MatchHolds(match));
}

TEST_F(EvaluateTest, ADryRunDenyIsNotedAndChangesNothing) {
  const std::vector<NamedPolicy> policies = {Named("a/try", Action::kDeny, {everyone_}, true),
                                             Named("a/no", Action::kDeny, {}, true)};
  EXPECT_TRUE(Decide(policies, web_).allowed);
  ASSERT_EQ(dry_runs_.size(), 1u);
  EXPECT_EQ(dry_runs_[0]->name, "a/try");
}

TEST_F(EvaluateTest, ADryRunAllowDoesNotCountAsAnAllow) {
  const std::vector<NamedPolicy> policies = {Named("a/try", Action::kAllow, {}, true)};
  EXPECT_TRUE(Decide(policies, web_).allowed);
  ASSERT_EQ(dry_runs_.size(), 1u);
  EXPECT_EQ(dry_runs_[0]->name, "a/try");
  const std::vector<NamedPolicy> either = {Named("a/try", Action::kAllow, {}, true),
                                           Named("a/fits", Action::kAllow, {everyone_}, true)};
  EXPECT_TRUE(Decide(either, web_).allowed);
  EXPECT_TRUE(dry_runs_.empty());
}

}  // namespace
}  // namespace weft
