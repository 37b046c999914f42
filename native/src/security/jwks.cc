#include "security/jwks.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "security/base64url.h"

namespace weft::security {
namespace {

using nlohmann::json;

// Keys of one set; more than any issuer publishes.
constexpr size_t kMaxKeys = 64;
// RSA keys below this are not worth checking (NIST SP 800-131A), above it they cost too much.
constexpr int kMinRsaBits = 2048;
constexpr int kMaxRsaBits = 8192;

struct Algorithm {
  std::string_view name;
  Jwk::Type type;
  const char* digest;  // null: the signature scheme has its own
  int curve_bytes;     // EC
  bool pss;
};
constexpr Algorithm kAlgorithms[] = {
    {"RS256", Jwk::Type::kRsa, "SHA256", 0, false}, {"RS384", Jwk::Type::kRsa, "SHA384", 0, false},
    {"RS512", Jwk::Type::kRsa, "SHA512", 0, false}, {"PS256", Jwk::Type::kRsa, "SHA256", 0, true},
    {"PS384", Jwk::Type::kRsa, "SHA384", 0, true},  {"PS512", Jwk::Type::kRsa, "SHA512", 0, true},
    {"ES256", Jwk::Type::kEc, "SHA256", 32, false}, {"ES384", Jwk::Type::kEc, "SHA384", 48, false},
    {"ES512", Jwk::Type::kEc, "SHA512", 66, false}, {"EdDSA", Jwk::Type::kEd25519, nullptr, 0, false},
};

const Algorithm* FindAlgorithm(std::string_view name) {
  for (const Algorithm& algorithm : kAlgorithms) {
    if (algorithm.name == name) return &algorithm;
  }
  return nullptr;
}

using BnPtr = std::unique_ptr<BIGNUM, OpenSslFree<BN_free>>;
using BuilderPtr = std::unique_ptr<OSSL_PARAM_BLD, OpenSslFree<OSSL_PARAM_BLD_free>>;
using ParamsPtr = std::unique_ptr<OSSL_PARAM, OpenSslFree<OSSL_PARAM_free>>;
using KeyContextPtr = std::unique_ptr<EVP_PKEY_CTX, OpenSslFree<EVP_PKEY_CTX_free>>;
using DigestContextPtr = std::unique_ptr<EVP_MD_CTX, OpenSslFree<EVP_MD_CTX_free>>;
using SignaturePtr = std::unique_ptr<ECDSA_SIG, OpenSslFree<ECDSA_SIG_free>>;

std::string Text(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<std::string> Bytes(const json& object, const char* name) {
  const std::string text = Text(object, name);
  if (text.empty()) return std::nullopt;
  return DecodeBase64Url(text);
}

BnPtr Number(const std::string& bytes) {
  return BnPtr(
      BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()), nullptr));
}

EvpKeyPtr Build(const char* type, OSSL_PARAM_BLD* builder) {
  const ParamsPtr params(OSSL_PARAM_BLD_to_param(builder));
  const KeyContextPtr context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) != 1) {
    return {};
  }
  EvpKeyPtr owned(key);
  // A point that is not on its curve, an even modulus: refused here, once, and not at each token.
  const KeyContextPtr check(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
  if (!check || EVP_PKEY_public_check(check.get()) != 1) return {};
  return owned;
}

EvpKeyPtr RsaKey(const json& object) {
  const std::optional<std::string> n = Bytes(object, "n"), e = Bytes(object, "e");
  if (!n || !e || n->size() > kMaxRsaBits / 8 || e->size() > 8) return {};
  const BnPtr modulus = Number(*n), exponent = Number(*e);
  if (!modulus || !exponent || BN_num_bits(modulus.get()) < kMinRsaBits) return {};
  const BuilderPtr builder(OSSL_PARAM_BLD_new());
  if (!builder || OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get()) != 1 ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get()) != 1) {
    return {};
  }
  return Build("RSA", builder.get());
}

EvpKeyPtr EcKey(const json& object, int* coordinate_bytes) {
  const std::string curve = Text(object, "crv");
  const char* group = curve == "P-256" ? "P-256" : curve == "P-384" ? "P-384" : curve == "P-521" ? "P-521" : nullptr;
  if (group == nullptr) return {};
  const size_t n = curve == "P-256" ? 32 : curve == "P-384" ? 48 : 66;
  const std::optional<std::string> x = Bytes(object, "x"), y = Bytes(object, "y");
  if (!x || !y || x->size() != n || y->size() != n) return {};
  *coordinate_bytes = static_cast<int>(n);
  const std::string point = '\x04' + *x + *y;
  const BuilderPtr builder(OSSL_PARAM_BLD_new());
  if (!builder || OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, group, 0) != 1 ||
      OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) != 1) {
    return {};
  }
  return Build("EC", builder.get());
}

EvpKeyPtr Ed25519Key(const json& object) {
  const std::optional<std::string> x = Bytes(object, "x");
  if (Text(object, "crv") != "Ed25519" || !x || x->size() != 32) return {};
  return EvpKeyPtr(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr,
                                               reinterpret_cast<const unsigned char*>(x->data()), x->size()));
}

std::optional<Jwk> ReadKey(const json& object) {
  if (!object.is_object()) return std::nullopt;
  const std::string use = Text(object, "use"), type = Text(object, "kty");
  if (!use.empty() && use != "sig") return std::nullopt;
  Jwk jwk;
  jwk.kid = Text(object, "kid");
  jwk.alg = Text(object, "alg");
  if (type == "RSA") {
    jwk.key = RsaKey(object);
  } else if (type == "EC") {
    jwk.type = Jwk::Type::kEc;
    jwk.key = EcKey(object, &jwk.curve_bytes);
  } else if (type == "OKP") {
    jwk.type = Jwk::Type::kEd25519;
    jwk.key = Ed25519Key(object);
  }
  ERR_clear_error();
  if (!jwk.key) return std::nullopt;
  if (!jwk.alg.empty()) {
    const Algorithm* algorithm = FindAlgorithm(jwk.alg);
    if (algorithm == nullptr || algorithm->type != jwk.type) return std::nullopt;
  }
  return jwk;
}

// Tokens have r and s one after the other (RFC 7518 section 3.4), OpenSSL wants them in DER.
std::optional<std::string> EcdsaDer(std::string_view raw, size_t coordinate_bytes) {
  if (raw.size() != 2 * coordinate_bytes) return std::nullopt;
  const SignaturePtr signature(ECDSA_SIG_new());
  BnPtr r = Number(std::string(raw.substr(0, coordinate_bytes)));
  BnPtr s = Number(std::string(raw.substr(coordinate_bytes)));
  if (!signature || !r || !s || ECDSA_SIG_set0(signature.get(), r.get(), s.get()) != 1) return std::nullopt;
  [[maybe_unused]] BIGNUM* const owned_r = r.release();
  [[maybe_unused]] BIGNUM* const owned_s = s.release();
  const int length = i2d_ECDSA_SIG(signature.get(), nullptr);
  if (length <= 0) return std::nullopt;
  std::string der(static_cast<size_t>(length), '\0');
  auto* at = reinterpret_cast<unsigned char*>(der.data());
  i2d_ECDSA_SIG(signature.get(), &at);
  return der;
}

bool Verify(const Jwk& jwk, const Algorithm& algorithm, std::string_view signed_part, std::string_view signature) {
  const DigestContextPtr context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* key_context = nullptr;
  if (!context || EVP_DigestVerifyInit_ex(context.get(), &key_context, algorithm.digest, nullptr, nullptr,
                                          jwk.key.get(), nullptr) != 1) {
    return false;
  }
  if (algorithm.pss && (EVP_PKEY_CTX_set_rsa_padding(key_context, RSA_PKCS1_PSS_PADDING) != 1 ||
                        EVP_PKEY_CTX_set_rsa_pss_saltlen(key_context, RSA_PSS_SALTLEN_DIGEST) != 1)) {
    return false;
  }
  std::string der;
  if (algorithm.type == Jwk::Type::kEc) {
    std::optional<std::string> converted = EcdsaDer(signature, static_cast<size_t>(algorithm.curve_bytes));
    if (!converted) return false;
    der = std::move(*converted);
    signature = der;
  }
  return EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(signature.data()), signature.size(),
                          reinterpret_cast<const unsigned char*>(signed_part.data()), signed_part.size()) == 1;
}

}  // namespace

Result<Jwks> Jwks::Parse(std::string_view text) {
  const json document = json::parse(text, nullptr, false);
  if (document.is_discarded() || !document.is_object()) return Error{EINVAL, "JWKS is not a JSON object"};
  const auto keys = document.find("keys");
  if (keys == document.end() || !keys->is_array()) return Error{EINVAL, "JWKS has no list \"keys\""};
  if (keys->size() > kMaxKeys) return Error{EINVAL, "JWKS has more than 64 keys"};
  Jwks jwks;
  for (const json& each : *keys) {
    if (std::optional<Jwk> jwk = ReadKey(each)) jwks.keys.push_back(std::move(*jwk));
  }
  if (jwks.keys.empty()) return Error{EINVAL, "JWKS has no key that can check a signature"};
  return jwks;
}

SignatureCheck CheckSignature(const Jwks& jwks, std::string_view alg, std::string_view kid,
                              std::string_view signed_part, std::string_view signature) {
  const Algorithm* algorithm = FindAlgorithm(alg);
  if (algorithm == nullptr) return SignatureCheck::kNoKey;
  SignatureCheck outcome = SignatureCheck::kNoKey;
  for (const Jwk& jwk : jwks.keys) {
    if (jwk.type != algorithm->type || jwk.curve_bytes != algorithm->curve_bytes) continue;
    if (!kid.empty() && !jwk.kid.empty() && jwk.kid != kid) continue;
    if (!jwk.alg.empty() && jwk.alg != alg) continue;
    outcome = SignatureCheck::kBad;
    const bool good = Verify(jwk, *algorithm, signed_part, signature);
    ERR_clear_error();
    if (good) return SignatureCheck::kGood;
  }
  return outcome;
}

bool IsKnownAlgorithm(std::string_view alg) { return FindAlgorithm(alg) != nullptr; }

}  // namespace weft::security
