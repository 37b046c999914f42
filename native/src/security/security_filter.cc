#include "security/security_filter.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "security/ext_authz.h"

namespace weft::security {
namespace {

constexpr std::string_view kDeniedBody = "RBAC: access denied";
// Of `realm`, as Envoy cuts it.
constexpr size_t kMaxRealmBytes = 256;

// ALLOW comes after DENY: what that has denied gets no further.
DryRun TryOut(const ChainSecurity& security, const PolicySubject& subject, const PolicyDecision& decision) {
  const bool denied = !decision.allowed && decision.policy != nullptr;
  return {DryRunResult(security.policies, subject, PolicyAction::kDeny),
          denied ? std::string() : DryRunResult(security.policies, subject, PolicyAction::kAllow)};
}

bool IsPreflight(const http::RequestHead& request) {
  return request.method == "OPTIONS" && request.headers.Find(http::HeaderId::kOrigin) != nullptr &&
         request.headers.Find("access-control-request-method") != nullptr;
}

class SecurityFilter final : public l7::Filter, private ExtAuthz::Owner {
 public:
  SecurityFilter(std::shared_ptr<const ChainSecurity> security, SecurityLoop& loop)
      : security_(std::move(security)), loop_(loop) {}

  l7::Next OnRequest(l7::FilterContext& context) override {
    context_ = &context;
    if (!security_->missing.empty()) {
      Deny("rbac_access_denied_matched_policy[none]");
      return l7::Next::kDone;
    }
    if (security_->has_custom) {
      if (!FindAuthorizers()) {
        Deny("rbac_access_denied_matched_policy[none]");
        return l7::Next::kDone;
      }
      if (!authorizers_.empty()) {
        AskNext();
        return l7::Next::kWait;
      }
    }
    return Decided() ? l7::Next::kContinue : l7::Next::kDone;
  }

 private:
  PolicySubject Subject() const {
    return {.connection = context_->downstream(),
            .remote = context_->client().ip,
            .destination = DestinationOf(context_->downstream()),
            .request = &context_->request(),
            .token = context_->token()};
  }

  // The authorizers of CUSTOM policies that match, each once. False: one of them is unknown.
  bool FindAuthorizers() {
    const PolicySubject subject = Subject();
    for (const auto& policy : security_->policies) {
      if (policy->action != PolicyAction::kCustom || policy->dry_run || !policy->MatchingRule(subject)) continue;
      if (!policy->authorizer) return false;
      const bool known = std::ranges::any_of(
          authorizers_, [&](const auto& each) { return each->provider == policy->authorizer->provider; });
      if (!known) authorizers_.push_back(policy->authorizer);
    }
    return true;
  }

  void AskNext() {
    ext_authz_ = std::make_unique<ExtAuthz>(authorizers_[asked_++], *context_, static_cast<ExtAuthz::Owner&>(*this));
    ext_authz_->Start();
  }
  void OnAuthorized() override {
    if (asked_ < authorizers_.size()) return AskNext();
    if (Decided()) context_->Continue();
  }
  void OnRefused() override {}

  // Tokens and policies. False: answered.
  bool Decided() {
    if (!security_->jwt.empty() && !IsPreflight(context_->request()) && !CheckTokens()) return false;
    const PolicySubject subject = Subject();
    const PolicyDecision decision = Decide(security_->policies, subject, false);
    if (security_->has_dry_run) {
      const DryRun tried = TryOut(*security_, subject, decision);
      Arena& arena = context_->arena();
      context_->NoteDryRun(arena.Copy(tried.deny), arena.Copy(tried.allow));
    }
    if (!decision.allowed) Deny(context_->arena().Copy(decision.Details()));
    return decision.allowed;
  }

  bool CheckTokens() {
    std::vector<const JwtRuleProgram*> rules;
    rules.reserve(security_->jwt.size());
    for (const auto& each : security_->jwt) rules.push_back(each.get());
    http::RequestHead& request = context_->request();
    const JwtOutcome outcome =
        VerifyTokens(rules, request, context_->unix_ms() / 1000, context_->arena(), loop_.tokens);
    if (outcome.status == JwtStatus::kOk) {
      context_->SetToken(outcome.token);
      // Claims may choose the route.
      context_->InvalidateRoute();
      return true;
    }
    if (outcome.status == JwtStatus::kMissing) return true;
    Arena& arena = context_->arena();
    const std::string_view text = StatusText(outcome.status);
    std::string details = "jwt_authn_access_denied{" + std::string(text) + "}";
    std::ranges::replace(details, ' ', '_');
    std::string realm(request.scheme.empty() ? "http" : request.scheme);
    realm.append("://").append(request.authority).append(request.PathWithoutQuery());
    realm.resize(std::min(realm.size(), kMaxRealmBytes));
    std::ranges::replace(realm, '"', '_');
    const http::Header header{"www-authenticate",
                              arena.Copy("Bearer realm=\"" + realm + "\", error=\"invalid_token\"")};
    const bool forbidden = outcome.http_status() == 403;
    context_->Reply({.status = outcome.http_status(),
                     .body = text,
                     .details = arena.Copy(details),
                     .flag = {},
                     .grpc_status = {},
                     .headers = forbidden ? std::span<const http::Header>() : std::span(&header, 1)});
    return false;
  }

  void Deny(std::string_view details) {
    context_->Reply(
        {.status = 403, .body = kDeniedBody, .details = details, .flag = {}, .grpc_status = {}, .headers = {}});
  }

  std::shared_ptr<const ChainSecurity> security_;
  SecurityLoop& loop_;
  l7::FilterContext* context_ = nullptr;
  std::vector<std::shared_ptr<const AuthorizerProgram>> authorizers_;
  size_t asked_ = 0;
  std::unique_ptr<ExtAuthz> ext_authz_;
};

class AuthorizerFilter final : public l7::Filter, private ExtAuthz::Owner {
 public:
  explicit AuthorizerFilter(std::shared_ptr<const AuthorizerProgram> program) : program_(std::move(program)) {}

  l7::Next OnRequest(l7::FilterContext& context) override {
    context_ = &context;
    ext_authz_ = std::make_unique<ExtAuthz>(program_, context, static_cast<ExtAuthz::Owner&>(*this));
    ext_authz_->Start();
    return l7::Next::kWait;
  }

 private:
  void OnAuthorized() override { context_->Continue(); }
  void OnRefused() override {}

  std::shared_ptr<const AuthorizerProgram> program_;
  l7::FilterContext* context_ = nullptr;
  std::unique_ptr<ExtAuthz> ext_authz_;
};

}  // namespace

std::unique_ptr<l7::Filter> MakeSecurityFilter(std::shared_ptr<const ChainSecurity> security, SecurityLoop& loop) {
  return std::make_unique<SecurityFilter>(std::move(security), loop);
}

std::unique_ptr<l7::Filter> MakeAuthorizerFilter(std::shared_ptr<const AuthorizerProgram> program) {
  return std::make_unique<AuthorizerFilter>(std::move(program));
}

SocketAddress DestinationOf(const StreamInfo& connection) {
  return connection.authority.port != 0 ? connection.authority : connection.local;
}

PolicyDecision DecideTcp(const ChainSecurity& security, const StreamInfo& connection, DryRun& dry_run) {
  if (!security.missing.empty()) return {false, nullptr, 0};
  const PolicySubject subject{.connection = connection,
                              .remote = connection.remote.ip,
                              .destination = DestinationOf(connection),
                              .request = nullptr,
                              .token = nullptr};
  for (const auto& policy : security.policies) {
    if (policy->action != PolicyAction::kCustom || policy->dry_run) continue;
    if (const std::optional<size_t> rule = policy->MatchingRule(subject)) return {false, policy.get(), *rule};
  }
  const PolicyDecision decision = Decide(security.policies, subject, false);
  if (security.has_dry_run) dry_run = TryOut(security, subject, decision);
  return decision;
}

}  // namespace weft::security
