#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include <string>

#include "security/base64url.h"
#include "security/jwt_verifier.h"

namespace weft::security {
namespace {

constexpr double kNow = 1'800'000'000;

std::string Number(EVP_PKEY* key, const char* name) {
  BIGNUM* number = nullptr;
  EVP_PKEY_get_bn_param(key, name, &number);
  std::string bytes(static_cast<size_t>(BN_num_bytes(number)), '\0');
  BN_bn2bin(number, reinterpret_cast<unsigned char*>(bytes.data()));
  BN_free(number);
  return bytes;
}

// An issuer with an RSA key, who signs whatever a test wants.
class Issuer {
 public:
  Issuer() : key_(EVP_RSA_gen(2048)) {}

  std::string Jwks(const std::string& kid = "k1") const {
    return R"({"keys":[{"kty":"RSA","use":"sig","kid":")" + kid + R"(","alg":"RS256","n":")" +
           EncodeBase64Url(Number(key_.get(), OSSL_PKEY_PARAM_RSA_N)) + R"(","e":")" +
           EncodeBase64Url(Number(key_.get(), OSSL_PKEY_PARAM_RSA_E)) + R"("}]})";
  }
  std::string Token(const std::string& claims, const std::string& header = R"({"alg":"RS256","kid":"k1"})") const {
    const std::string text = EncodeBase64Url(header) + "." + EncodeBase64Url(claims);
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, key_.get());
    size_t n = 0;
    EVP_DigestSign(context, nullptr, &n, reinterpret_cast<const unsigned char*>(text.data()), text.size());
    std::string signature(n, '\0');
    EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &n,
                   reinterpret_cast<const unsigned char*>(text.data()), text.size());
    EVP_MD_CTX_free(context);
    return text + "." + EncodeBase64Url(signature);
  }

 private:
  EvpKeyPtr key_;
};

class JwtTest : public testing::Test {
 protected:
  JwtTest() : request_(arena_) {
    request_.method = "GET";
    request_.path = "/";
    rule_.id = 1;
    rule_.issuer = "https://issuer";
    rule_.jwks.emplace(std::move(*Jwks::Parse(issuer_.Jwks())));
  }
  JwtOutcome Verify() { return VerifyTokens({&rule_}, request_, kNow, arena_, cache_); }
  void Bearer(const std::string& token) { request_.headers.Set("authorization", "Bearer " + token); }
  JwtStatus StatusOf(const std::string& claims) {
    Bearer(issuer_.Token(claims));
    return Verify().status;
  }

  static inline const Issuer issuer_;
  Arena arena_;
  http::RequestHead request_;
  JwtRuleProgram rule_;
  TokenCache cache_;
};

TEST_F(JwtTest, RequestsWithoutATokenPassWithoutAPrincipal) {
  const JwtOutcome outcome = Verify();
  EXPECT_EQ(outcome.status, JwtStatus::kMissing);
  EXPECT_EQ(outcome.token, nullptr);
}

TEST_F(JwtTest, AGoodTokenGivesAPrincipalAndIsTakenOut) {
  Bearer(issuer_.Token(
      R"({"iss":"https://issuer","sub":"alice","aud":"a","azp":"web","groups":["x","y"],"exp":1800000100})"));
  const JwtOutcome outcome = Verify();
  ASSERT_EQ(outcome.status, JwtStatus::kOk);
  EXPECT_EQ(outcome.token->principal(), "https://issuer/alice");
  EXPECT_EQ(outcome.token->presenter(), "web");
  EXPECT_EQ(outcome.token->Claim(std::vector<std::string>{"groups"}), (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(request_.headers.Find("authorization"), nullptr);
}

TEST_F(JwtTest, AForwardedTokenStays) {
  rule_.forward = true;
  Bearer(issuer_.Token(R"({"iss":"https://issuer"})"));
  ASSERT_EQ(Verify().status, JwtStatus::kOk);
  EXPECT_NE(request_.headers.Find("authorization"), nullptr);
}

TEST_F(JwtTest, NamesWhatIsWrongWithAToken) {
  EXPECT_EQ(StatusOf(R"({"iss":"https://other"})"), JwtStatus::kUnknownIssuer);
  EXPECT_EQ(StatusOf(R"({"iss":"https://issuer","exp":1799999900})"), JwtStatus::kExpired);
  EXPECT_EQ(StatusOf(R"({"iss":"https://issuer","nbf":1800000100})"), JwtStatus::kNotYetValid);
  EXPECT_EQ(StatusOf(R"({"iss":"https://issuer","exp":"soon"})"), JwtStatus::kPayloadBadTime);
  EXPECT_EQ(StatusOf(R"([1])"), JwtStatus::kPayloadNotJson);
  Bearer("abc");
  EXPECT_EQ(Verify().status, JwtStatus::kBadFormat);
  Bearer("!.a.b");
  EXPECT_NE(Verify().status, JwtStatus::kOk);
  Bearer(Issuer().Token(R"({"iss":"https://issuer"})"));
  EXPECT_EQ(Verify().status, JwtStatus::kBadSignature);
  Bearer(issuer_.Token(R"({"iss":"https://issuer"})", R"({"alg":"RS256","kid":"other"})"));
  EXPECT_EQ(Verify().status, JwtStatus::kNoKey);
  Bearer(EncodeBase64Url(R"({"alg":"none"})") + "." + EncodeBase64Url(R"({"iss":"https://issuer"})") + ".");
  EXPECT_EQ(Verify().status, JwtStatus::kHeaderUnknownAlg);
}

TEST_F(JwtTest, ClocksMayDifferByAMinute) {
  EXPECT_EQ(StatusOf(R"({"iss":"https://issuer","exp":1799999950})"), JwtStatus::kOk);
  EXPECT_EQ(StatusOf(R"({"iss":"https://issuer","nbf":1800000050})"), JwtStatus::kOk);
}

TEST_F(JwtTest, AWrongAudienceIsForbidden) {
  rule_.audiences = {"b", "c"};
  EXPECT_EQ(StatusOf(R"({"iss":"https://issuer","aud":["c"]})"), JwtStatus::kOk);
  EXPECT_EQ(StatusOf(R"({"iss":"https://issuer","aud":"a"})"), JwtStatus::kAudienceNotAllowed);
  EXPECT_EQ(Verify().http_status(), 403);
}

TEST_F(JwtTest, MissingKeysRefuse) {
  rule_.jwks.reset();
  EXPECT_EQ(StatusOf(R"({"iss":"https://issuer"})"), JwtStatus::kKeysMissing);
}

TEST_F(JwtTest, PlacesOfARuleReplaceTheDefaults) {
  const std::string token = issuer_.Token(R"({"iss":"https://issuer"})");
  rule_.from_headers = {{"x-token", "T "}};
  rule_.from_params = {"t"};
  rule_.from_cookies = {"session"};
  Bearer(token);
  EXPECT_EQ(Verify().status, JwtStatus::kMissing);
  request_.headers.Set("x-token", "T " + token);
  EXPECT_EQ(Verify().status, JwtStatus::kOk);
  EXPECT_EQ(request_.headers.Find("x-token"), nullptr);
  const std::string path = "/p?a=1&t=" + token + "&b=2";
  request_.path = path;
  EXPECT_EQ(Verify().status, JwtStatus::kOk);
  EXPECT_EQ(request_.path, "/p?a=1&b=2");
  request_.headers.Add("cookie", "a=1; session=" + token + "; b=2");
  EXPECT_EQ(Verify().status, JwtStatus::kOk);
  EXPECT_EQ(request_.headers.Get(http::HeaderId::kCookie), "a=1; b=2");
}

TEST_F(JwtTest, ClaimsGoIntoHeadersAndNobodyElsesDo) {
  rule_.output_payload_to_header = "x-payload";
  rule_.output_claims = {{"x-user", "sub"}, {"x-admin", "role.admin"}, {"x-bad", "evil"}};
  request_.headers.Add("x-user", "root");
  request_.headers.Add("x-payload", "forged");
  EXPECT_EQ(Verify().status, JwtStatus::kMissing);
  EXPECT_EQ(request_.headers.Find("x-user"), nullptr);
  EXPECT_EQ(request_.headers.Find("x-payload"), nullptr);
  request_.headers.Add("x-bad", "forged");
  Bearer(issuer_.Token(R"({"iss":"https://issuer","sub":"alice","role":{"admin":true},"evil":"a\r\nb"})"));
  ASSERT_EQ(Verify().status, JwtStatus::kOk);
  EXPECT_EQ(request_.headers.Find("x-user")->value, "alice");
  EXPECT_EQ(request_.headers.Find("x-admin")->value, "true");
  EXPECT_EQ(request_.headers.Find("x-bad"), nullptr);
}

TEST_F(JwtTest, AnyRuleThatFindsATokenGoodIsEnough) {
  JwtRuleProgram other = {};
  other.id = 2;
  other.issuer = "https://other";
  const Issuer keys;
  other.jwks.emplace(std::move(*Jwks::Parse(keys.Jwks())));
  Bearer(keys.Token(R"({"iss":"https://other","sub":"bob"})"));
  JwtOutcome outcome = VerifyTokens({&rule_, &other}, request_, kNow, arena_, cache_);
  ASSERT_EQ(outcome.status, JwtStatus::kOk);
  EXPECT_EQ(outcome.token->principal(), "https://other/bob");
  Bearer(issuer_.Token(R"({"iss":"https://other","sub":"bob"})"));
  outcome = VerifyTokens({&rule_, &other}, request_, kNow, arena_, cache_);
  EXPECT_EQ(outcome.status, JwtStatus::kBadSignature);
}

TEST_F(JwtTest, ACachedTokenStillExpires) {
  Bearer(issuer_.Token(R"({"iss":"https://issuer","exp":1800000010})"));
  rule_.forward = true;
  EXPECT_EQ(Verify().status, JwtStatus::kOk);
  EXPECT_EQ(cache_.size(), 1u);
  EXPECT_EQ(VerifyTokens({&rule_}, request_, kNow + 100, arena_, cache_).status, JwtStatus::kExpired);
}

TEST_F(JwtTest, TheCacheIsBounded) {
  const auto token = std::get<1>(ParsedToken::Parse(issuer_.Token("{}"))).release();
  const std::shared_ptr<const ParsedToken> shared(token);
  for (int i = 0; i < 3000; ++i) cache_.Add(1, std::to_string(i), shared);
  EXPECT_EQ(cache_.size(), TokenCache::kMaxTokens);
  EXPECT_EQ(cache_.Find(1, "0"), nullptr);
  EXPECT_NE(cache_.Find(1, "2999"), nullptr);
  EXPECT_EQ(cache_.Find(2, "2999"), nullptr);
}

TEST(JwksTest, LeavesOutWhatCannotCheck) {
  EXPECT_FALSE(Jwks::Parse("nonsense").has_value());
  EXPECT_FALSE(Jwks::Parse(R"({"keys":[]})").has_value());
  EXPECT_FALSE(Jwks::Parse(R"({"keys":[{"kty":"oct","k":"c2VjcmV0"}]})").has_value());
  EXPECT_FALSE(Jwks::Parse(R"({"keys":[{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}]})").has_value());
  EXPECT_FALSE(Jwks::Parse(R"({"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]})").has_value());
}

// RFC 7515 appendix A.3, RFC 8037 appendix A.
TEST(JwksTest, ChecksTheExamplesOfTheStandards) {
  const auto ec = Jwks::Parse(
      R"({"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]})");
  ASSERT_TRUE(ec.has_value());
  const std::string signed_part =
      "eyJhbGciOiJFUzI1NiJ9."
      "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
  const std::string signature =
      *DecodeBase64Url("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
  EXPECT_EQ(CheckSignature(*ec, "ES256", "", signed_part, signature), SignatureCheck::kGood);
  EXPECT_EQ(CheckSignature(*ec, "ES256", "", signed_part + "x", signature), SignatureCheck::kBad);
  EXPECT_EQ(CheckSignature(*ec, "RS256", "", signed_part, signature), SignatureCheck::kNoKey);
  EXPECT_EQ(CheckSignature(*ec, "ES384", "", signed_part, signature), SignatureCheck::kNoKey);
  const auto ed =
      Jwks::Parse(R"({"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]})");
  ASSERT_TRUE(ed.has_value());
  EXPECT_EQ(CheckSignature(*ed, "EdDSA", "", "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
                           *DecodeBase64Url("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt"
                                            "9g7sVvpAr_MuM0KAg")),
            SignatureCheck::kGood);
}

}  // namespace
}  // namespace weft::security
