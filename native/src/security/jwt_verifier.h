#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/arena.h"
#include "http/message.h"
#include "security/jwks.h"
#include "security/jwt_token.h"

namespace weft::security {

struct TokenHeader {
  std::string name;  // lower case
  std::string prefix;
};
struct ClaimHeader {
  std::string header;  // lower case
  std::string claim;
};

// One JwtRule, its keys read.
struct JwtRuleProgram {
  // Never the same for two rules: what a cache knows of tokens is about one rule with its keys.
  uint64_t id = 0;
  std::string issuer;
  std::vector<std::string> audiences;
  std::optional<Jwks> jwks;  // nullopt: could not be fetched
  std::vector<TokenHeader> from_headers;
  std::vector<std::string> from_params;
  std::vector<std::string> from_cookies;
  std::string output_payload_to_header;
  std::vector<ClaimHeader> output_claims;
  bool forward = false;
  std::vector<std::string> space_delimited_claims;
};

// Tokens that were found good, of one loop. A token is checked once, not with each request that carries it: its
// signature costs some 30 to 150 us. Bounded; the least recently used goes.
class TokenCache {
 public:
  static constexpr size_t kMaxTokens = 1024;
  std::shared_ptr<const ParsedToken> Find(uint64_t rule, std::string_view text);
  void Add(uint64_t rule, std::string_view text, std::shared_ptr<const ParsedToken> token);
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const ParsedToken> token;
  };
  static std::string KeyOf(uint64_t rule, std::string_view text);
  std::list<Entry> entries_;
  std::unordered_map<std::string_view, std::list<Entry>::iterator> index_;
};

struct JwtOutcome {
  // kOk with a token: that request is its principal's. kMissing: nobody showed one, which is accepted. Else refused.
  JwtStatus status = JwtStatus::kMissing;
  std::shared_ptr<const VerifiedToken> token;
  uint16_t http_status() const { return status == JwtStatus::kAudienceNotAllowed ? 403 : 401; }
};

// All rules in force for a request. The first token that a rule finds good wins; when there is none, and some rule saw
// a bad token at its places, the request is refused with the most telling reason. On success the request is changed:
// the token is taken out unless the rule forwards it, claims are put into headers. Headers that rules put claims into
// are removed from every request, so that no client can claim them.
JwtOutcome VerifyTokens(const std::vector<const JwtRuleProgram*>& rules, http::RequestHead& request, double unix_s,
                        Arena& arena, TokenCache& cache);

}  // namespace weft::security
