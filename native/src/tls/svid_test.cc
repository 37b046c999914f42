#include "tls/svid.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>

#include "test_ca.h"

namespace weft::test {
namespace {

constexpr char kId[] = "spiffe://cluster.local/ns/a/sa/b";

Result<SpiffeId> Read(const SvidOptions& options) {
  static const TestCa ca;
  const Svid svid = ca.Issue(options);
  const BioPtr bio(BIO_new_mem_buf(svid.chain.data(), static_cast<int>(svid.chain.size())));
  const X509Ptr leaf(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  return IdentityOf(leaf.get());
}

TEST(SvidTest, TakesTheOneSpiffeIdAmongOtherNames) {
  const Result<SpiffeId> id = Read({.uris = {"https://example.com", kId}, .dns_names = {"example.com"}});
  ASSERT_TRUE(id);
  EXPECT_EQ(id->ToUri(), kId);
}

TEST(SvidTest, RefusesWhatNamesNobody) {
  EXPECT_FALSE(Read({.uris = {}, .dns_names = {}}));
  EXPECT_FALSE(Read({.uris = {}, .dns_names = {kId}}));
  EXPECT_FALSE(Read({.uris = {"spiffe://cluster.local/ns/a"}, .dns_names = {}}));
  EXPECT_FALSE(Read({.uris = {"SPIFFE://cluster.local/ns/a/sa/b"}, .dns_names = {}}));
  EXPECT_FALSE(Read({.uris = {"spiffe://cluster.local/ns/a/sa/b/c"}, .dns_names = {}}));
}

TEST(SvidTest, RefusesTwoIds) {
  EXPECT_FALSE(Read({.uris = {kId, "spiffe://cluster.local/ns/a/sa/admin"}, .dns_names = {}}));
}

TEST(SvidTest, RefusesNulBytesInAnyUri) {
  EXPECT_FALSE(Read({.uris = {std::string(kId) + '\0' + "x"}, .dns_names = {}}));
  EXPECT_FALSE(Read({.uris = {kId, std::string("https://a\0b", 11)}, .dns_names = {}}));
}

}  // namespace
}  // namespace weft::test
