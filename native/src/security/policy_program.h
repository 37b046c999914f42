#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/message.h"
#include "l7/string_matcher.h"
#include "net/byte_stream.h"
#include "net/cidr.h"
#include "security/authorizer.h"
#include "security/verified_token.h"

namespace weft::l7 {
class Policy;  // proto/l7.proto
}

namespace weft::security {

// What policies are asked about.
struct PolicySubject {
  const StreamInfo& connection;
  // The client as far as proxies are trusted; the peer's address on TCP.
  IpAddress remote;
  SocketAddress destination;
  // Null: TCP. What needs HTTP is then left out of DENY rules, and rules of other actions that have it do not match.
  const http::RequestHead* request = nullptr;
  const VerifiedToken* token = nullptr;
};

enum class PolicyAction : uint8_t { kAllow, kDeny, kAudit, kCustom };

// Fields of a source, an operation or a condition; each has values that may match and values that must not.
enum class PolicyField : uint8_t {
  kPrincipal,
  kNamespace,
  kTrustDomain,
  kServiceAccount,
  kSourceIp,
  kRemoteIp,
  kRequestPrincipal,
  kHost,
  kPort,
  kMethod,
  kPath,
  kHeader,
  kAudience,
  kPresenter,
  kClaim,
  kDestinationIp,
  kSni,
};

// One field with its values: `positive` empty or one of them matches, and none of `negative` does.
struct PolicyMatcher {
  PolicyField field = PolicyField::kPrincipal;
  std::string header;
  std::vector<std::string> claim;
  std::vector<l7::StringMatcher> positive, negative;
  std::vector<CidrRange> positive_ips, negative_ips;
  std::vector<uint16_t> positive_ports, negative_ports;
};

struct PolicyClause {
  std::vector<PolicyMatcher> all;
};

struct PolicyRuleProgram {
  std::vector<PolicyClause> from, to;  // empty: any; else one must match
  std::vector<PolicyMatcher> when;     // all
  bool needs_http = false;
};

// One AuthorizationPolicy.
struct PolicyProgram {
  std::string name;  // "<namespace>/<name>"
  std::string namespace_name, short_name;
  PolicyAction action = PolicyAction::kAllow;
  bool dry_run = false;
  std::vector<PolicyRuleProgram> rules;
  // CUSTOM; null: the provider is unknown, and what matches is denied.
  std::shared_ptr<const AuthorizerProgram> authorizer;

  static Result<std::shared_ptr<const PolicyProgram>> Compile(const l7::Policy& policy);

  // The first rule that matches.
  std::optional<size_t> MatchingRule(const PolicySubject& subject) const;
};

struct PolicyDecision {
  bool allowed = true;
  // Who decided; null: no ALLOW matched (when denied), or nobody had to.
  const PolicyProgram* policy = nullptr;
  size_t rule = 0;
  // "rbac_access_denied_matched_policy[...]".
  std::string Details() const;
  // "ns[...]-policy[...]-rule[...]". Only where there is a policy.
  std::string RuleId() const;
};

// DENY, then ALLOW; CUSTOM and AUDIT do not decide here. `dry_run` picks which policies count: those in force, or those
// that are only tried.
PolicyDecision Decide(const std::vector<std::shared_ptr<const PolicyProgram>>& policies, const PolicySubject& subject,
                      bool dry_run);

// What policies of `action` (DENY or ALLOW) that are only tried would have said by themselves: "denied" or "allowed",
// then, where one of them matched, which one. Empty: there are none.
std::string DryRunResult(const std::vector<std::shared_ptr<const PolicyProgram>>& policies,
                         const PolicySubject& subject, PolicyAction action);

}  // namespace weft::security
