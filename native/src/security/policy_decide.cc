#include <algorithm>
#include <span>

#include "security/peer_name.h"
#include "security/policy_program.h"

namespace weft::security {
namespace {

using l7::StringMatcher;

// Of policies `present` ("*") means a value that is not empty.
bool MatchesAny(const std::vector<StringMatcher>& matchers, std::string_view value) {
  return std::ranges::any_of(matchers, [&](const StringMatcher& each) {
    return each.kind() == StringMatcher::Kind::kPresent ? !value.empty() : each.Matches(value);
  });
}

bool ContainsAny(const std::vector<CidrRange>& ranges, const IpAddress& ip) {
  return std::ranges::any_of(ranges, [&](const CidrRange& each) { return each.Contains(ip); });
}

// A field of one value. An absent value matches nothing positive, and nothing negative either.
bool HoldsText(const PolicyMatcher& matcher, std::string_view value) {
  return (matcher.positive.empty() || MatchesAny(matcher.positive, value)) && !MatchesAny(matcher.negative, value);
}

bool HoldsTexts(const PolicyMatcher& matcher, std::span<const std::string> values) {
  const auto any = [&](const std::vector<StringMatcher>& matchers) {
    return std::ranges::any_of(values, [&](const std::string& each) { return MatchesAny(matchers, each); });
  };
  return (matcher.positive.empty() || any(matcher.positive)) && !any(matcher.negative);
}

bool HoldsIp(const PolicyMatcher& matcher, const IpAddress& ip) {
  return (matcher.positive_ips.empty() || ContainsAny(matcher.positive_ips, ip)) &&
         !ContainsAny(matcher.negative_ips, ip);
}

// The values of a peer who has proved nothing are absent, not empty: `principals: [""]` must not match them.
bool HoldsPeer(const PolicyMatcher& matcher, bool proved, std::string_view value) {
  if (!proved) return matcher.positive.empty();
  return HoldsText(matcher, value);
}

class Evaluation {
 public:
  explicit Evaluation(const PolicySubject& subject)
      : subject_(subject), peer_(NameOf(subject.connection.peer_identity)) {
    if (peer_.namespace_name.empty()) return;
    account_.reserve(peer_.namespace_name.size() + 1 + peer_.service_account.size());
    account_.append(peer_.namespace_name).append("/").append(peer_.service_account);
  }

  bool Holds(const PolicyRuleProgram& rule) const {
    const auto any = [&](const std::vector<PolicyClause>& clauses) {
      return clauses.empty() || std::ranges::any_of(clauses, [&](const PolicyClause& each) { return All(each.all); });
    };
    return any(rule.from) && any(rule.to) && All(rule.when);
  }

 private:
  bool All(const std::vector<PolicyMatcher>& matchers) const {
    return std::ranges::all_of(matchers, [&](const PolicyMatcher& each) { return Holds(each); });
  }

  bool Holds(const PolicyMatcher& matcher) const {
    const bool proved = !peer_.principal.empty();
    switch (matcher.field) {
      case PolicyField::kPrincipal:
        return HoldsPeer(matcher, proved, peer_.principal);
      case PolicyField::kNamespace:
        return HoldsPeer(matcher, proved, peer_.namespace_name);
      case PolicyField::kTrustDomain:
        return HoldsPeer(matcher, proved, peer_.trust_domain);
      case PolicyField::kServiceAccount:
        return HoldsPeer(matcher, proved, account_);
      case PolicyField::kSourceIp:
        return HoldsIp(matcher, subject_.connection.remote.ip);
      case PolicyField::kRemoteIp:
        return HoldsIp(matcher, subject_.remote);
      case PolicyField::kDestinationIp:
        return HoldsIp(matcher, subject_.destination.ip);
      case PolicyField::kPort:
        return (matcher.positive_ports.empty() || HasPort(matcher.positive_ports)) && !HasPort(matcher.negative_ports);
      case PolicyField::kSni:
        return HoldsText(matcher, subject_.connection.sni);
      default:
        return HoldsHttp(matcher);
    }
  }

  bool HasPort(const std::vector<uint16_t>& ports) const {
    return std::ranges::find(ports, subject_.destination.port) != ports.end();
  }

  bool HoldsHttp(const PolicyMatcher& matcher) const {
    // TCP: only DENY rules come here, and what they say of HTTP is left out of them.
    if (subject_.request == nullptr) return true;
    const http::RequestHead& request = *subject_.request;
    const VerifiedToken* token = subject_.token;
    switch (matcher.field) {
      case PolicyField::kHost:
        return HoldsText(matcher, request.authority);
      case PolicyField::kMethod:
        return HoldsText(matcher, request.method);
      case PolicyField::kPath:
        return HoldsText(matcher, request.PathWithoutQuery());
      case PolicyField::kHeader:
        return HoldsHeader(matcher, request);
      case PolicyField::kRequestPrincipal:
        return HoldsPeer(matcher, token != nullptr, token == nullptr ? std::string_view() : token->principal());
      case PolicyField::kPresenter:
        return HoldsPeer(matcher, token != nullptr, token == nullptr ? std::string_view() : token->presenter());
      case PolicyField::kAudience:
        return HoldsTexts(matcher, token == nullptr ? std::span<const std::string>() : token->audiences());
      case PolicyField::kClaim:
        return HoldsTexts(matcher, token == nullptr ? std::vector<std::string>() : token->Claim(matcher.claim));
      default:
        return false;
    }
  }

  // Several lines of one name are one value, joined; and each line by itself too, so that a DENY cannot be passed by
  // sending its value beside another (CVE-2026-26308).
  static bool HoldsHeader(const PolicyMatcher& matcher, const http::RequestHead& request) {
    if (matcher.header == "host" || matcher.header == ":authority") return HoldsText(matcher, request.authority);
    if (matcher.header == ":method") return HoldsText(matcher, request.method);
    if (matcher.header == ":path") return HoldsText(matcher, request.path);
    const std::string_view joined = request.headers.Joined(matcher.header);
    if (joined.data() == nullptr) return matcher.positive.empty();
    if (MatchesAny(matcher.negative, joined)) return false;
    bool positive = matcher.positive.empty() || MatchesAny(matcher.positive, joined);
    for (const http::Header& header : request.headers) {
      if (header.name != matcher.header) continue;
      if (MatchesAny(matcher.negative, header.value)) return false;
      positive = positive || MatchesAny(matcher.positive, header.value);
    }
    return positive;
  }

  const PolicySubject& subject_;
  PeerName peer_;
  std::string account_;
};

std::optional<size_t> FirstRule(const PolicyProgram& policy, const PolicySubject& subject,
                                const Evaluation& evaluation) {
  for (size_t i = 0; i < policy.rules.size(); ++i) {
    const PolicyRuleProgram& rule = policy.rules[i];
    if (subject.request == nullptr && rule.needs_http && policy.action != PolicyAction::kDeny) continue;
    if (evaluation.Holds(rule)) return i;
  }
  return std::nullopt;
}

}  // namespace

std::optional<size_t> PolicyProgram::MatchingRule(const PolicySubject& subject) const {
  return FirstRule(*this, subject, Evaluation(subject));
}

std::string PolicyDecision::Details() const {
  if (policy == nullptr) return "rbac_access_denied_matched_policy[none]";
  return "rbac_access_denied_matched_policy[" + RuleId() + "]";
}

std::string PolicyDecision::RuleId() const {
  return "ns[" + policy->namespace_name + "]-policy[" + policy->short_name + "]-rule[" + std::to_string(rule) + "]";
}

PolicyDecision Decide(const std::vector<std::shared_ptr<const PolicyProgram>>& policies, const PolicySubject& subject,
                      bool dry_run) {
  const Evaluation evaluation(subject);
  bool allow_exists = false;
  for (const auto& policy : policies) {
    if (policy->dry_run != dry_run) continue;
    allow_exists = allow_exists || policy->action == PolicyAction::kAllow;
    if (policy->action != PolicyAction::kDeny) continue;
    if (const std::optional<size_t> rule = FirstRule(*policy, subject, evaluation)) return {false, policy.get(), *rule};
  }
  if (!allow_exists) return {};
  for (const auto& policy : policies) {
    if (policy->dry_run != dry_run || policy->action != PolicyAction::kAllow) continue;
    if (const std::optional<size_t> rule = FirstRule(*policy, subject, evaluation)) return {true, policy.get(), *rule};
  }
  return {false, nullptr, 0};
}

std::string DryRunResult(const std::vector<std::shared_ptr<const PolicyProgram>>& policies,
                         const PolicySubject& subject, PolicyAction action) {
  const Evaluation evaluation(subject);
  const bool deny = action == PolicyAction::kDeny;
  bool some = false;
  for (const auto& policy : policies) {
    if (!policy->dry_run || policy->action != action) continue;
    some = true;
    const std::optional<size_t> rule = FirstRule(*policy, subject, evaluation);
    if (rule) return (deny ? "denied " : "allowed ") + PolicyDecision{!deny, policy.get(), *rule}.RuleId();
  }
  if (!some) return {};
  return deny ? "allowed" : "denied";
}

}  // namespace weft::security
