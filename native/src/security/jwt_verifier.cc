#include "security/jwt_verifier.h"

#include <utility>

#include "security/token_places.h"

namespace weft::security {
namespace {

// Of two reasons the one that says more about the token.
JwtStatus MoreTelling(JwtStatus a, JwtStatus b) {
  const auto rank = [](JwtStatus status) {
    return status == JwtStatus::kMissing ? 0 : status == JwtStatus::kUnknownIssuer ? 1 : 2;
  };
  return rank(b) > rank(a) ? b : a;
}

// Issuer, times and audience before the signature: they are cheap, and what a client sees then names its mistake.
JwtStatus Check(const JwtRuleProgram& rule, const ParsedToken& token, double unix_s) {
  if (!rule.issuer.empty() && token.issuer() != rule.issuer) return JwtStatus::kUnknownIssuer;
  if (const JwtStatus status = token.CheckTimes(unix_s); status != JwtStatus::kOk) return status;
  if (!token.HasAudience(rule.audiences)) return JwtStatus::kAudienceNotAllowed;
  if (!rule.jwks) return JwtStatus::kKeysMissing;
  switch (CheckSignature(*rule.jwks, token.alg(), token.kid(), token.signed_part(), token.signature())) {
    case SignatureCheck::kGood:
      return JwtStatus::kOk;
    case SignatureCheck::kBad:
      return JwtStatus::kBadSignature;
    case SignatureCheck::kNoKey:
      return JwtStatus::kNoKey;
  }
  return JwtStatus::kBadSignature;
}

JwtStatus Verify(const JwtRuleProgram& rule, std::string_view text, double unix_s, TokenCache& cache,
                 std::shared_ptr<const ParsedToken>& good) {
  good = cache.Find(rule.id, text);
  if (good) {
    const JwtStatus status = good->CheckTimes(unix_s);
    if (status != JwtStatus::kOk) good.reset();
    return status;
  }
  std::variant<JwtStatus, std::unique_ptr<ParsedToken>> parsed = ParsedToken::Parse(text);
  if (const auto* status = std::get_if<JwtStatus>(&parsed)) return *status;
  std::shared_ptr<const ParsedToken> token = std::move(std::get<1>(parsed));
  const JwtStatus status = Check(rule, *token, unix_s);
  if (status != JwtStatus::kOk) return status;
  cache.Add(rule.id, text, token);
  good = std::move(token);
  return status;
}

void RemoveOutputs(const JwtRuleProgram& rule, http::RequestHead& request) {
  if (!rule.output_payload_to_header.empty()) request.headers.Remove(rule.output_payload_to_header);
  for (const ClaimHeader& each : rule.output_claims) request.headers.Remove(each.header);
}

bool IsHeaderText(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
  }
  return true;
}

void WriteOutputs(const JwtRuleProgram& rule, const ParsedToken& token, http::RequestHead& request) {
  if (!rule.output_payload_to_header.empty()) {
    request.headers.Set(rule.output_payload_to_header, token.payload_base64());
  }
  for (const ClaimHeader& each : rule.output_claims) {
    const std::optional<std::string> value = token.ClaimText(each.claim);
    // A claim may hold anything, a header may not.
    if (value && IsHeaderText(*value)) request.headers.Set(each.header, *value);
  }
}

}  // namespace

JwtOutcome VerifyTokens(const std::vector<const JwtRuleProgram*>& rules, http::RequestHead& request, double unix_s,
                        Arena& arena, TokenCache& cache) {
  JwtOutcome outcome;
  const JwtRuleProgram* by = nullptr;
  std::shared_ptr<const ParsedToken> good;
  FoundToken place;
  for (const JwtRuleProgram* rule : rules) {
    for (const FoundToken& found : FindTokens(*rule, request)) {
      const JwtStatus status = Verify(*rule, found.text, unix_s, cache, good);
      if (status == JwtStatus::kOk) {
        by = rule;
        place = found;
        break;
      }
      outcome.status = MoreTelling(outcome.status, status);
    }
    if (by != nullptr) break;
  }
  if (by == nullptr && outcome.status != JwtStatus::kMissing) return outcome;
  for (const JwtRuleProgram* rule : rules) RemoveOutputs(*rule, request);
  if (by == nullptr) return outcome;
  outcome.status = JwtStatus::kOk;
  outcome.token = good->ToVerified(by->space_delimited_claims);
  if (!by->forward) TakeOut(place, request, arena);
  WriteOutputs(*by, *good, request);
  return outcome;
}

std::string TokenCache::KeyOf(uint64_t rule, std::string_view text) {
  std::string key(reinterpret_cast<const char*>(&rule), sizeof rule);
  key += text;
  return key;
}

std::shared_ptr<const ParsedToken> TokenCache::Find(uint64_t rule, std::string_view text) {
  const auto found = index_.find(KeyOf(rule, text));
  if (found == index_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->token;
}

void TokenCache::Add(uint64_t rule, std::string_view text, std::shared_ptr<const ParsedToken> token) {
  if (entries_.size() >= kMaxTokens) {
    index_.erase(entries_.back().key);
    entries_.pop_back();
  }
  entries_.push_front({KeyOf(rule, text), std::move(token)});
  index_.emplace(entries_.front().key, entries_.begin());
}

}  // namespace weft::security
