#pragma once

#include <string_view>
#include <vector>

#include "base/arena.h"
#include "http/message.h"
#include "security/jwt_verifier.h"

namespace weft::security {

// A token found in a request, and where, so that it can be taken out again.
struct FoundToken {
  enum class Place { kHeader, kParameter, kCookie };
  Place place = Place::kHeader;
  std::string_view name;
  std::string_view text;
};

// Looks where the rule says: headers, then parameters, then cookies; by default Authorization: Bearer, then the
// parameter access_token.
std::vector<FoundToken> FindTokens(const JwtRuleProgram& rule, const http::RequestHead& request);
void TakeOut(const FoundToken& token, http::RequestHead& request, Arena& arena);

}  // namespace weft::security
