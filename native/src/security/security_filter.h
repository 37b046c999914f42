#pragma once

#include <memory>
#include <string>

#include "l7/filter.h"
#include "security/security_catalog.h"

namespace weft::security {

// What security keeps per loop.
struct SecurityLoop {
  TokenCache tokens;
};

// CUSTOM policies (external authorization), then tokens, then DENY and ALLOW policies.
std::unique_ptr<l7::Filter> MakeSecurityFilter(std::shared_ptr<const ChainSecurity> security, SecurityLoop& loop);

// An external authorizer that a route itself names, after all policies.
std::unique_ptr<l7::Filter> MakeAuthorizerFilter(std::shared_ptr<const AuthorizerProgram> program);

// What policies that are only tried would have said, as DryRunResult.
struct DryRun {
  std::string deny, allow;
};

// The same policies for a connection that is not HTTP. CUSTOM ones deny what they match: nobody can be asked.
PolicyDecision DecideTcp(const ChainSecurity& security, const StreamInfo& connection, DryRun& dry_run);

// Where a connection goes, as policies see it: what the tunnel asked for, or the socket's own address.
SocketAddress DestinationOf(const StreamInfo& connection);

}  // namespace weft::security
