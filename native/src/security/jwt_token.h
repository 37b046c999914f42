#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "security/verified_token.h"

namespace weft::security {

// What is wrong with a token. The texts are the bodies that clients of Envoy's filter know (StatusText).
enum class JwtStatus : uint8_t {
  kOk,
  kMissing,
  kNotYetValid,
  kExpired,
  kBadFormat,
  kHeaderNotBase64,
  kHeaderNotJson,
  kHeaderNoAlg,
  kHeaderUnknownAlg,
  kHeaderBadKid,
  kPayloadNotBase64,
  kPayloadNotJson,
  kPayloadBadIss,
  kPayloadBadTime,
  kPayloadBadAud,
  kSignatureNotBase64,
  kUnknownIssuer,
  kAudienceNotAllowed,
  kNoKey,
  kBadSignature,
  kKeysMissing,
};
std::string_view StatusText(JwtStatus status);

// Tokens are longer than this only by mistake: header lines are bounded too.
inline constexpr size_t kMaxTokenBytes = 16 * 1024;

// A token in its three parts, its claims read but nothing verified yet.
class ParsedToken {
 public:
  static std::variant<JwtStatus, std::unique_ptr<ParsedToken>> Parse(std::string_view text);
  ~ParsedToken();

  std::string_view alg() const { return alg_; }
  std::string_view kid() const { return kid_; }
  std::string_view issuer() const;
  std::string_view signed_part() const { return std::string_view(text_).substr(0, signed_bytes_); }
  std::string_view signature() const { return signature_; }
  // The payload as it stands in the token, in base64url.
  std::string_view payload_base64() const;
  // kOk, kNotYetValid or kExpired, with a tolerance for clocks that differ.
  JwtStatus CheckTimes(double unix_s) const;
  // When CheckTimes changes its mind; nullopt: never.
  std::optional<double> expires_at() const { return exp_; }
  // One of `allowed` is among the token's audiences; an empty list allows all.
  bool HasAudience(const std::vector<std::string>& allowed) const;

  // The claims as a request carries them. `space_delimited`: claims whose texts are lists.
  std::shared_ptr<const VerifiedToken> ToVerified(const std::vector<std::string>& space_delimited) const;
  // A claim at a dotted path as header text: strings, integers and booleans. nullopt: none, or another type.
  std::optional<std::string> ClaimText(std::string_view dotted_path) const;

 private:
  struct Claims;
  ParsedToken();
  JwtStatus ReadHeader(std::string_view part);
  JwtStatus ReadPayload(std::string_view part);

  std::string text_;
  size_t signed_bytes_ = 0;
  size_t payload_begin_ = 0;
  std::string alg_;
  std::string kid_;
  std::string signature_;
  std::optional<double> exp_;
  std::optional<double> nbf_;
  std::vector<std::string> audiences_;
  std::shared_ptr<const Claims> claims_;
  friend class TokenClaims;
};

}  // namespace weft::security
