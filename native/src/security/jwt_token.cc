#include "security/jwt_token.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "security/base64url.h"
#include "security/jwks.h"

namespace weft::security {

using nlohmann::json;

namespace {

// Clocks of issuers differ from ours by so much at most.
constexpr double kClockSkewS = 60;
// Claims are compared by paths of a few names; deeper documents are made to hurt.
constexpr int kMaxDepth = 32;

std::optional<json> ParseObject(std::string_view text) {
  bool too_deep = false;
  const json::parser_callback_t check = [&](int depth, json::parse_event_t, json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;
  };
  json document = json::parse(text, check, false);
  if (too_deep || document.is_discarded() || !document.is_object()) return std::nullopt;
  return document;
}

// False when the claim is there and no number of seconds.
bool ReadTime(const json& claims, const char* name, std::optional<double>& into) {
  const auto found = claims.find(name);
  if (found == claims.end()) return true;
  if (!found->is_number()) return false;
  into = found->get<double>();
  return *into >= 0;
}

std::string_view TextOf(const json& claims, const char* name) {
  const auto found = claims.find(name);
  if (found == claims.end() || !found->is_string()) return {};
  return found->get_ref<const std::string&>();
}

std::optional<std::string> ScalarText(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  if (value.is_number_unsigned()) return std::to_string(value.get<uint64_t>());
  if (value.is_number_integer()) return std::to_string(value.get<int64_t>());
  return std::nullopt;
}

void SplitAtSpaces(std::string_view text, std::vector<std::string>& into) {
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    if (end > 0) into.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

}  // namespace

struct ParsedToken::Claims {
  json object;
};

// Shares the parsed claims; lives as long as a request or a cache needs it.
class TokenClaims final : public VerifiedToken {
 public:
  TokenClaims(std::shared_ptr<const ParsedToken::Claims> claims, std::vector<std::string> audiences,
              std::vector<std::string> space_delimited)
      : claims_(std::move(claims)), audiences_(std::move(audiences)), space_delimited_(std::move(space_delimited)) {
    // Envoy joins the two also when one is missing, and so do policies written for it.
    principal_ = std::string(issuer()) + "/" + std::string(subject());
  }

  std::string_view issuer() const override { return TextOf(claims_->object, "iss"); }
  std::string_view subject() const override { return TextOf(claims_->object, "sub"); }
  std::string_view principal() const override { return principal_; }
  std::span<const std::string> audiences() const override { return audiences_; }
  std::string_view presenter() const override { return TextOf(claims_->object, "azp"); }

  std::vector<std::string> Claim(std::span<const std::string> path) const override {
    const json* at = &claims_->object;
    for (const std::string& name : path) {
      if (!at->is_object()) return {};
      const auto found = at->find(name);
      if (found == at->end()) return {};
      at = &*found;
    }
    std::vector<std::string> values;
    const bool split = path.size() == 1 && std::ranges::find(space_delimited_, path[0]) != space_delimited_.end();
    if (at->is_string() && split) {
      SplitAtSpaces(at->get_ref<const std::string&>(), values);
    } else if (at->is_array()) {
      for (const json& each : *at) {
        if (std::optional<std::string> text = ScalarText(each)) values.push_back(std::move(*text));
      }
    } else if (std::optional<std::string> text = ScalarText(*at)) {
      values.push_back(std::move(*text));
    }
    return values;
  }

 private:
  std::shared_ptr<const ParsedToken::Claims> claims_;
  std::vector<std::string> audiences_;
  std::vector<std::string> space_delimited_;
  std::string principal_;
};

std::string_view StatusText(JwtStatus status) {
  switch (status) {
    case JwtStatus::kOk:
      return "OK";
    case JwtStatus::kMissing:
      return "Jwt is missing";
    case JwtStatus::kNotYetValid:
      return "Jwt not yet valid";
    case JwtStatus::kExpired:
      return "Jwt is expired";
    case JwtStatus::kBadFormat:
      return "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections";
    case JwtStatus::kHeaderNotBase64:
      return "Jwt header is an invalid Base64url encoded";
    case JwtStatus::kHeaderNotJson:
      return "Jwt header is an invalid JSON";
    case JwtStatus::kHeaderNoAlg:
      return "Jwt header [alg] field is required and must be a string";
    case JwtStatus::kHeaderUnknownAlg:
      return "Jwt header [alg] is not supported";
    case JwtStatus::kHeaderBadKid:
      return "Jwt header [kid] field is not a string";
    case JwtStatus::kPayloadNotBase64:
      return "Jwt payload is an invalid Base64url encoded";
    case JwtStatus::kPayloadNotJson:
      return "Jwt payload is an invalid JSON";
    case JwtStatus::kPayloadBadIss:
      return "Jwt payload [iss] field is not a string";
    case JwtStatus::kPayloadBadTime:
      return "Jwt payload [exp] or [nbf] field is not a number";
    case JwtStatus::kPayloadBadAud:
      return "Jwt payload [aud] field is not a string or a list of strings";
    case JwtStatus::kSignatureNotBase64:
      return "Jwt signature is an invalid Base64url encoded";
    case JwtStatus::kUnknownIssuer:
      return "Jwt issuer is not configured";
    case JwtStatus::kAudienceNotAllowed:
      return "Audiences in Jwt are not allowed";
    case JwtStatus::kNoKey:
      return "Jwks doesn't have key to match kid or alg from Jwt";
    case JwtStatus::kBadSignature:
      return "Jwt verification fails";
    case JwtStatus::kKeysMissing:
      return "Jwks remote fetch is failed";
  }
  return "";
}

ParsedToken::ParsedToken() = default;
ParsedToken::~ParsedToken() = default;

std::variant<JwtStatus, std::unique_ptr<ParsedToken>> ParsedToken::Parse(std::string_view text) {
  if (text.size() > kMaxTokenBytes || std::ranges::count(text, '.') != 2) return JwtStatus::kBadFormat;
  std::unique_ptr<ParsedToken> token(new ParsedToken());
  token->text_ = text;
  const std::string_view whole = token->text_;
  const size_t first = whole.find('.');
  const size_t second = whole.find('.', first + 1);
  token->payload_begin_ = first + 1;
  token->signed_bytes_ = second;
  if (const JwtStatus status = token->ReadHeader(whole.substr(0, first)); status != JwtStatus::kOk) return status;
  if (const JwtStatus status = token->ReadPayload(token->payload_base64()); status != JwtStatus::kOk) return status;
  std::optional<std::string> signature = DecodeBase64Url(whole.substr(second + 1));
  if (!signature) return JwtStatus::kSignatureNotBase64;
  token->signature_ = std::move(*signature);
  return token;
}

JwtStatus ParsedToken::ReadHeader(std::string_view part) {
  const std::optional<std::string> bytes = DecodeBase64Url(part);
  if (!bytes) return JwtStatus::kHeaderNotBase64;
  const std::optional<json> header = ParseObject(*bytes);
  if (!header) return JwtStatus::kHeaderNotJson;
  alg_ = TextOf(*header, "alg");
  if (alg_.empty()) return JwtStatus::kHeaderNoAlg;
  if (!IsKnownAlgorithm(alg_)) return JwtStatus::kHeaderUnknownAlg;
  if (header->contains("kid") && !(*header)["kid"].is_string()) return JwtStatus::kHeaderBadKid;
  kid_ = TextOf(*header, "kid");
  return JwtStatus::kOk;
}

JwtStatus ParsedToken::ReadPayload(std::string_view part) {
  const std::optional<std::string> bytes = DecodeBase64Url(part);
  if (!bytes) return JwtStatus::kPayloadNotBase64;
  std::optional<json> claims = ParseObject(*bytes);
  if (!claims) return JwtStatus::kPayloadNotJson;
  for (const char* name : {"iss", "sub"}) {
    if (claims->contains(name) && !(*claims)[name].is_string()) return JwtStatus::kPayloadBadIss;
  }
  if (!ReadTime(*claims, "exp", exp_) || !ReadTime(*claims, "nbf", nbf_)) return JwtStatus::kPayloadBadTime;
  if (const auto aud = claims->find("aud"); aud != claims->end()) {
    if (!aud->is_string() && !aud->is_array()) return JwtStatus::kPayloadBadAud;
    if (aud->is_string()) {
      audiences_.push_back(aud->get<std::string>());
    } else {
      for (const json& each : *aud) {
        if (!each.is_string()) return JwtStatus::kPayloadBadAud;
        audiences_.push_back(each.get<std::string>());
      }
    }
  }
  claims_ = std::make_shared<Claims>(Claims{std::move(*claims)});
  return JwtStatus::kOk;
}

std::string_view ParsedToken::issuer() const { return TextOf(claims_->object, "iss"); }

std::string_view ParsedToken::payload_base64() const {
  return std::string_view(text_).substr(payload_begin_, signed_bytes_ - payload_begin_);
}

JwtStatus ParsedToken::CheckTimes(double unix_s) const {
  if (nbf_ && unix_s + kClockSkewS < *nbf_) return JwtStatus::kNotYetValid;
  if (exp_ && unix_s > *exp_ + kClockSkewS) return JwtStatus::kExpired;
  return JwtStatus::kOk;
}

bool ParsedToken::HasAudience(const std::vector<std::string>& allowed) const {
  if (allowed.empty()) return true;
  return std::ranges::any_of(
      audiences_, [&](const std::string& each) { return std::ranges::find(allowed, each) != allowed.end(); });
}

std::shared_ptr<const VerifiedToken> ParsedToken::ToVerified(const std::vector<std::string>& space_delimited) const {
  return std::make_shared<TokenClaims>(claims_, audiences_, space_delimited);
}

std::optional<std::string> ParsedToken::ClaimText(std::string_view dotted_path) const {
  const json* at = &claims_->object;
  while (true) {
    const size_t dot = std::min(dotted_path.find('.'), dotted_path.size());
    if (!at->is_object()) return std::nullopt;
    const auto found = at->find(std::string(dotted_path.substr(0, dot)));
    if (found == at->end()) return std::nullopt;
    at = &*found;
    if (dot == dotted_path.size()) return ScalarText(*at);
    dotted_path.remove_prefix(dot + 1);
  }
}

}  // namespace weft::security
