#include "security/security_catalog.h"

#include <algorithm>

#include "l7.pb.h"

namespace weft::security {
namespace {

std::string Lower(std::string name) {
  std::ranges::transform(name, name.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return name;
}

Result<std::shared_ptr<const JwtRuleProgram>> CompileRule(const l7::JwtRule& from, uint64_t id) {
  auto rule = std::make_shared<JwtRuleProgram>();
  rule->id = id;
  rule->issuer = from.issuer();
  rule->audiences.assign(from.audiences().begin(), from.audiences().end());
  if (!from.jwks_missing()) {
    Result<Jwks> jwks = Jwks::Parse(from.jwks());
    if (!jwks) return Error{EINVAL, "issuer \"" + from.issuer() + "\": " + jwks.error().what};
    rule->jwks.emplace(std::move(*jwks));
  }
  for (const l7::JwtHeader& each : from.from_headers())
    rule->from_headers.push_back({Lower(each.name()), each.prefix()});
  rule->from_params.assign(from.from_params().begin(), from.from_params().end());
  rule->from_cookies.assign(from.from_cookies().begin(), from.from_cookies().end());
  rule->output_payload_to_header = Lower(from.output_payload_to_header());
  for (const l7::ClaimToHeader& each : from.output_claims())
    rule->output_claims.push_back({Lower(each.header()), each.claim()});
  rule->forward = from.forward();
  rule->space_delimited_claims.assign(from.space_delimited_claims().begin(), from.space_delimited_claims().end());
  // Istio's defaults.
  if (rule->space_delimited_claims.empty()) rule->space_delimited_claims = {"scope", "permission"};
  return std::shared_ptr<const JwtRuleProgram>(std::move(rule));
}

}  // namespace

Status SecurityCatalog::SetPolicy(const std::string& name, std::string_view bytes) {
  l7::Policy message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Error{EINVAL, "not a Policy"};
  Result<std::shared_ptr<const PolicyProgram>> program = PolicyProgram::Compile(message);
  if (!program) return program.error();
  policies_[name] = std::move(*program);
  return Ok{};
}

Status SecurityCatalog::SetJwt(const std::string& name, std::string_view bytes) {
  l7::Jwt message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Error{EINVAL, "not a Jwt"};
  std::vector<std::shared_ptr<const JwtRuleProgram>> rules;
  for (const l7::JwtRule& each : message.rules()) {
    Result<std::shared_ptr<const JwtRuleProgram>> rule = CompileRule(each, next_rule_++);
    if (!rule) return rule.error();
    rules.push_back(std::move(*rule));
  }
  jwt_[name] = std::move(rules);
  return Ok{};
}

std::shared_ptr<const ChainSecurity> SecurityCatalog::Resolve(const std::vector<std::string>& policies,
                                                              const std::vector<std::string>& jwt) const {
  if (policies.empty() && jwt.empty()) return nullptr;
  auto security = std::make_shared<ChainSecurity>();
  for (const std::string& name : policies) {
    const auto found = policies_.find(name);
    if (found == policies_.end()) {
      security->missing = name;
      continue;
    }
    security->has_custom = security->has_custom || found->second->action == PolicyAction::kCustom;
    security->has_dry_run = security->has_dry_run || found->second->dry_run;
    security->policies.push_back(found->second);
  }
  for (const std::string& name : jwt) {
    const auto found = jwt_.find(name);
    if (found == jwt_.end()) {
      security->missing = name;
      continue;
    }
    security->jwt.insert(security->jwt.end(), found->second.begin(), found->second.end());
  }
  return security;
}

}  // namespace weft::security
