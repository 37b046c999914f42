#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tls/openssl_ptr.h"

namespace weft::security {

// One public key of a JSON Web Key Set (RFC 7517): RSA, P-256, P-384, P-521, Ed25519. Symmetric keys are refused: a
// set that is fetched from a URL is public, and with "oct" in it anybody could sign.
struct Jwk {
  enum class Type { kRsa, kEc, kEd25519 };
  Type type = Type::kRsa;
  std::string kid;      // empty: none
  std::string alg;      // empty: any that fits the type
  int curve_bytes = 0;  // EC: bytes of a coordinate
  EvpKeyPtr key;
};

struct Jwks {
  std::vector<Jwk> keys;

  // Keys of other types or uses, and malformed ones, are left out; a document with none left is an error.
  static Result<Jwks> Parse(std::string_view json);
};

enum class SignatureCheck { kGood, kBad, kNoKey };

// Whether one of the keys made `signature` (raw, as in the token) of `signed_part` with `alg`.
SignatureCheck CheckSignature(const Jwks& jwks, std::string_view alg, std::string_view kid,
                              std::string_view signed_part, std::string_view signature);
// An algorithm of RFC 7518 or 8037 that this verifier knows.
bool IsKnownAlgorithm(std::string_view alg);

}  // namespace weft::security
