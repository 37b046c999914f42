#include <utility>

#include "l7.pb.h"
#include "security/policy_program.h"

namespace weft::security {
namespace {

bool NeedsHttp(PolicyField field) {
  switch (field) {
    case PolicyField::kRequestPrincipal:
    case PolicyField::kHost:
    case PolicyField::kMethod:
    case PolicyField::kPath:
    case PolicyField::kHeader:
    case PolicyField::kAudience:
    case PolicyField::kPresenter:
    case PolicyField::kClaim:
      return true;
    default:
      return false;
  }
}

// Collects what a rule is made of; the first error ends it.
class Compiler {
 public:
  template <typename Matches>
  void Texts(PolicyField field, const Matches& positive, const Matches& negative, std::vector<PolicyMatcher>& into) {
    if (positive.empty() && negative.empty()) return;
    PolicyMatcher matcher;
    matcher.field = field;
    Add(positive, matcher.positive);
    Add(negative, matcher.negative);
    Push(std::move(matcher), into);
  }
  template <typename Names>
  void Accounts(PolicyField field, const Names& positive, const Names& negative, std::vector<PolicyMatcher>& into) {
    if (positive.empty() && negative.empty()) return;
    PolicyMatcher matcher;
    matcher.field = field;
    for (const std::string& each : positive) matcher.positive.push_back(l7::StringMatcher::Exact(each));
    for (const std::string& each : negative) matcher.negative.push_back(l7::StringMatcher::Exact(each));
    Push(std::move(matcher), into);
  }
  template <typename Ranges>
  void Ips(PolicyField field, const Ranges& positive, const Ranges& negative, std::vector<PolicyMatcher>& into) {
    if (positive.empty() && negative.empty()) return;
    PolicyMatcher matcher;
    matcher.field = field;
    Add(positive, matcher.positive_ips);
    Add(negative, matcher.negative_ips);
    Push(std::move(matcher), into);
  }
  template <typename Ports>
  void PortLists(const Ports& positive, const Ports& negative, std::vector<PolicyMatcher>& into) {
    if (positive.empty() && negative.empty()) return;
    PolicyMatcher matcher;
    matcher.field = PolicyField::kPort;
    matcher.positive_ports.assign(positive.begin(), positive.end());
    matcher.negative_ports.assign(negative.begin(), negative.end());
    Push(std::move(matcher), into);
  }
  void Condition(const l7::PolicyCondition& condition, std::vector<PolicyMatcher>& into);

  PolicyRuleProgram Rule(const l7::PolicyRule& rule);
  const std::optional<Error>& error() const { return error_; }

 private:
  template <typename Matches>
  void Add(const Matches& matches, std::vector<l7::StringMatcher>& into) {
    for (const l7::StringMatch& each : matches) {
      Result<l7::StringMatcher> matcher = l7::StringMatcher::Compile(each);
      if (!matcher) {
        error_ = matcher.error();
        return;
      }
      into.push_back(std::move(*matcher));
    }
  }
  template <typename Ranges>
  void Add(const Ranges& ranges, std::vector<CidrRange>& into) {
    for (const l7::Cidr& each : ranges) {
      const std::optional<CidrRange> range = CidrRange::Make(each.ip(), each.length());
      if (!range) {
        error_ = Error{EINVAL, "\"" + each.ip() + "/" + std::to_string(each.length()) + "\" is no range of addresses"};
        return;
      }
      into.push_back(*range);
    }
  }
  void Push(PolicyMatcher matcher, std::vector<PolicyMatcher>& into) {
    needs_http_ = needs_http_ || NeedsHttp(matcher.field);
    into.push_back(std::move(matcher));
  }

  std::optional<Error> error_;
  bool needs_http_ = false;
};

PolicyRuleProgram Compiler::Rule(const l7::PolicyRule& rule) {
  PolicyRuleProgram program;
  for (const l7::PolicySource& from : rule.from()) {
    std::vector<PolicyMatcher>& all = program.from.emplace_back().all;
    Texts(PolicyField::kPrincipal, from.principals(), from.not_principals(), all);
    Texts(PolicyField::kNamespace, from.namespaces(), from.not_namespaces(), all);
    Texts(PolicyField::kRequestPrincipal, from.request_principals(), from.not_request_principals(), all);
    Ips(PolicyField::kSourceIp, from.ip_blocks(), from.not_ip_blocks(), all);
    Ips(PolicyField::kRemoteIp, from.remote_ip_blocks(), from.not_remote_ip_blocks(), all);
    Texts(PolicyField::kTrustDomain, from.trust_domains(), from.not_trust_domains(), all);
    Accounts(PolicyField::kServiceAccount, from.service_accounts(), from.not_service_accounts(), all);
  }
  for (const l7::PolicyOperation& to : rule.to()) {
    std::vector<PolicyMatcher>& all = program.to.emplace_back().all;
    Texts(PolicyField::kHost, to.hosts(), to.not_hosts(), all);
    PortLists(to.ports(), to.not_ports(), all);
    Texts(PolicyField::kMethod, to.methods(), to.not_methods(), all);
    Texts(PolicyField::kPath, to.paths(), to.not_paths(), all);
  }
  for (const l7::PolicyCondition& when : rule.when()) Condition(when, program.when);
  program.needs_http = needs_http_;
  needs_http_ = false;
  return program;
}

void Compiler::Condition(const l7::PolicyCondition& condition, std::vector<PolicyMatcher>& into) {
  const auto texts = [&](PolicyField field) {
    const size_t before = into.size();
    Texts(field, condition.values(), condition.not_values(), into);
    if (into.size() == before) return;
    into.back().header = condition.header();
    into.back().claim.assign(condition.claim().begin(), condition.claim().end());
  };
  switch (condition.key()) {
    case l7::PolicyCondition::REQUEST_HEADER:
      return texts(PolicyField::kHeader);
    case l7::PolicyCondition::SOURCE_NAMESPACE:
      return texts(PolicyField::kNamespace);
    case l7::PolicyCondition::SOURCE_PRINCIPAL:
      return texts(PolicyField::kPrincipal);
    case l7::PolicyCondition::SOURCE_SERVICE_ACCOUNT:
      return texts(PolicyField::kServiceAccount);
    case l7::PolicyCondition::SOURCE_TRUST_DOMAIN:
      return texts(PolicyField::kTrustDomain);
    case l7::PolicyCondition::REQUEST_PRINCIPAL:
      return texts(PolicyField::kRequestPrincipal);
    case l7::PolicyCondition::REQUEST_AUDIENCE:
      return texts(PolicyField::kAudience);
    case l7::PolicyCondition::REQUEST_PRESENTER:
      return texts(PolicyField::kPresenter);
    case l7::PolicyCondition::REQUEST_CLAIM:
      return texts(PolicyField::kClaim);
    case l7::PolicyCondition::CONNECTION_SNI:
      return texts(PolicyField::kSni);
    case l7::PolicyCondition::SOURCE_IP:
      return Ips(PolicyField::kSourceIp, condition.cidrs(), condition.not_cidrs(), into);
    case l7::PolicyCondition::REMOTE_IP:
      return Ips(PolicyField::kRemoteIp, condition.cidrs(), condition.not_cidrs(), into);
    case l7::PolicyCondition::DESTINATION_IP:
      return Ips(PolicyField::kDestinationIp, condition.cidrs(), condition.not_cidrs(), into);
    case l7::PolicyCondition::DESTINATION_PORT:
      return PortLists(condition.ports(), condition.not_ports(), into);
    default:
      error_ = Error{EINVAL, "condition " + std::to_string(condition.key()) + " is not known"};
  }
}

}  // namespace

Result<std::shared_ptr<const PolicyProgram>> PolicyProgram::Compile(const l7::Policy& policy) {
  auto program = std::make_shared<PolicyProgram>();
  program->namespace_name = policy.namespace_();
  program->name = policy.name();
  const size_t slash = policy.name().find('/');
  program->short_name = slash == std::string::npos ? policy.name() : policy.name().substr(slash + 1);
  switch (policy.action()) {
    case l7::Policy::ALLOW:
      program->action = PolicyAction::kAllow;
      break;
    case l7::Policy::DENY:
      program->action = PolicyAction::kDeny;
      break;
    case l7::Policy::AUDIT:
      program->action = PolicyAction::kAudit;
      break;
    case l7::Policy::CUSTOM:
      program->action = PolicyAction::kCustom;
      break;
    default:
      return Error{EINVAL, "policy " + policy.name() + ": action " + std::to_string(policy.action()) + " is not known"};
  }
  program->dry_run = policy.dry_run();
  Compiler compiler;
  for (const l7::PolicyRule& rule : policy.rules()) {
    program->rules.push_back(compiler.Rule(rule));
    if (compiler.error()) return Error{EINVAL, "policy " + policy.name() + ": " + compiler.error()->what};
  }
  if (policy.has_authorizer()) {
    Result<std::shared_ptr<const AuthorizerProgram>> authorizer = AuthorizerProgram::Compile(policy.authorizer());
    if (!authorizer) return Error{EINVAL, "policy " + policy.name() + ": " + authorizer.error().what};
    program->authorizer = std::move(*authorizer);
  }
  return std::shared_ptr<const PolicyProgram>(std::move(program));
}

}  // namespace weft::security
