#include "policy/spiffe_id.h"

#include <gtest/gtest.h>

#include <string>

namespace weft {
namespace {

using std::string_view_literals::operator""sv;

TEST(SpiffeIdTest, SplitsAWorkloadId) {
  const auto id = SpiffeId::Parse("spiffe://cluster.local/ns/default/sa/web");
  ASSERT_TRUE(id.has_value());
  EXPECT_EQ(id->trust_domain, "cluster.local");
  EXPECT_EQ(id->namespace_name, "default");
  EXPECT_EQ(id->service_account, "web");
  EXPECT_EQ(id->principal, "cluster.local/ns/default/sa/web");
  EXPECT_EQ(id->ToUri(), "spiffe://cluster.local/ns/default/sa/web");
}

TEST(SpiffeIdTest, KeepsDotsOfServiceAccounts) {
  const auto id = SpiffeId::Parse("spiffe://td/ns/a/sa/web.v1");
  ASSERT_TRUE(id.has_value());
  EXPECT_EQ(id->service_account, "web.v1");
}

TEST(SpiffeIdTest, KeepsSegmentsThatLookLikeDelimiters) {
  const auto id = SpiffeId::Parse("spiffe://td/ns/sa/sa/ns");
  ASSERT_TRUE(id.has_value());
  EXPECT_EQ(id->namespace_name, "sa");
  EXPECT_EQ(id->service_account, "ns");
}

TEST(SpiffeIdTest, RefusesEverythingElse) {
  for (const std::string_view uri : {
           ""sv,
           "spiffe://"sv,
           "spiffe:///ns/a/sa/b"sv,
           "spiffe://td/ns//sa/b"sv,
           "spiffe://td/ns/a/sa/"sv,
           "spiffe://td/ns/a/sa/b/"sv,
           "spiffe://td/ns/a/sa/b/c"sv,
           "spiffe://td/x/ns/a/sa/b"sv,
           "spiffe://td/ns/a/b/sa/c"sv,
           "spiffe://td/sa/b/ns/a"sv,
           "spiffe://td/ns/../sa/b"sv,
           "spiffe://td/ns/a/sa/."sv,
           "spiffe://TD/ns/a/sa/b"sv,
           "SPIFFE://td/ns/a/sa/b"sv,
           " spiffe://td/ns/a/sa/b"sv,
           "spiffe://td/ns/a/sa/b "sv,
           "spiffe://td/ns/a/sa/b\0"sv,
           "spiffe://td/ns/a/sa/b\0.evil"sv,
           "spiffe://td/ns/a/sa/%62"sv,
           "spiffe://td/ns/a/sa/b?x"sv,
           "spiffe://td/ns/a/sa/b#x"sv,
           "spiffe://user@td/ns/a/sa/b"sv,
           "spiffe://td:443/ns/a/sa/b"sv,
           "spiffe://td/ns/a/sa/*"sv,
           "spiffe://td/ns/\xc3\xa4/sa/b"sv,
           "https://td/ns/a/sa/b"sv,
       }) {
    EXPECT_FALSE(SpiffeId::Parse(uri).has_value()) << uri;
  }
}

TEST(SpiffeIdTest, RefusesLongText) {
  const std::string head = "spiffe://td/ns/a/sa/";
  EXPECT_TRUE(SpiffeId::Parse(head + std::string(kMaxSpiffeIdBytes - head.size(), 'b')).has_value());
  EXPECT_FALSE(SpiffeId::Parse(head + std::string(kMaxSpiffeIdBytes - head.size() + 1, 'b')).has_value());
  EXPECT_FALSE(SpiffeId::Parse("spiffe://" + std::string(256, 't') + "/ns/a/sa/b").has_value());
}

}  // namespace
}  // namespace weft
