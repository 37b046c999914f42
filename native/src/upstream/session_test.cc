#include "upstream/session.h"

#include <gtest/gtest.h>

#include "upstream/hash.h"
#include "upstream/hash_key.h"

namespace weft::upstream {
namespace {

class SessionTest : public testing::Test {
 protected:
  Arena arena_;
  http::RequestHead head_{arena_};
  AnswerField answer_;
  const uint64_t id_ = SessionIdOf("10.0.0.1:80");
};

TEST_F(SessionTest, ACookieBringsTheEndpointBack) {
  const SessionConfig config{.cookie = "s", .header = {}, .path = "/a"};
  EXPECT_EQ(SessionIn(config, head_, 0), std::nullopt);
  WriteSession(config, id_, 0, answer_);
  EXPECT_EQ(answer_.name, "set-cookie");
  EXPECT_TRUE(answer_.value.ends_with("; Path=/a; HttpOnly")) << answer_.value;
  EXPECT_EQ(answer_.value.find("10.0.0.1"), std::string::npos);
  head_.headers.Add("cookie", "t=1; " + answer_.value.substr(0, answer_.value.find(';')) + "; u=2");
  EXPECT_EQ(SessionIn(config, head_, 0), id_);
}

TEST_F(SessionTest, AHeaderDoesTheSame) {
  const SessionConfig config{.cookie = {}, .header = "x-session", .path = {}};
  WriteSession(config, id_, 0, answer_);
  EXPECT_EQ(answer_.name, "x-session");
  head_.headers.Add("x-session", answer_.value);
  EXPECT_EQ(SessionIn(config, head_, 0), id_);
}

TEST_F(SessionTest, ASessionIsOverWhenItsTimeIs) {
  const SessionConfig config{.cookie = "s", .header = {}, .path = {}, .absolute_timeout_ms = 60'000, .permanent = true};
  WriteSession(config, id_, 1'000'000, answer_);
  EXPECT_NE(answer_.value.find("; Max-Age=60"), std::string::npos);
  head_.headers.Add("cookie", answer_.value.substr(0, answer_.value.find(';')));
  EXPECT_EQ(SessionIn(config, head_, 1'059'999), id_);
  EXPECT_EQ(SessionIn(config, head_, 1'060'000), std::nullopt);
}

TEST_F(SessionTest, WhatIsNoNameOfAnEndpointIsNone) {
  const SessionConfig config{.cookie = {}, .header = "x", .path = {}, .absolute_timeout_ms = 1000};
  for (const char* text : {"", ".", "12", "0123456789abcdeg.ff", "0123456789abcdef", "0123456789abcdef.",
                           "0123456789abcdef.x", "0123456789abcdef0.ffffff", "0123456789abcdef.fffffffffffffffff"}) {
    Arena arena;
    http::RequestHead head(arena);
    head.headers.Add("x", text);
    EXPECT_EQ(SessionIn(config, head, 0), std::nullopt) << text;
  }
}

// ---- keys of consistent hashing
// ---------------------------------------------------------------------------------------

class HashKeyTest : public SessionTest {
 protected:
  std::optional<uint64_t> Hash(std::vector<HashKeyConfig> keys) {
    ClusterConfig config;
    config.hash = std::move(keys);
    PickContext context;
    context.request = &head_;
    context.source = *IpAddress::Parse("10.1.2.3");
    context.answer = &answer_;
    return HashOf(config, context, 42);
  }
  static HashKeyConfig Key(HashKeyConfig::Kind kind, std::string name = {}) {
    HashKeyConfig key;
    key.kind = kind;
    key.name = std::move(name);
    return key;
  }
  using Kind = HashKeyConfig::Kind;
};

TEST_F(HashKeyTest, TheFirstKeyThatTheRequestHasDecides) {
  EXPECT_EQ(Hash({Key(Kind::kHeader, "x-user")}), std::nullopt);
  head_.path = "/p?a=1&user=me&b";
  const auto by_query = Hash({Key(Kind::kHeader, "x-user"), Key(Kind::kQuery, "user")});
  EXPECT_EQ(by_query, HashText("me"));
  head_.headers.Add("x-user", "you");
  EXPECT_EQ(Hash({Key(Kind::kHeader, "x-user"), Key(Kind::kQuery, "user")}), HashText("you"));
  EXPECT_EQ(Hash({Key(Kind::kSourceIp)}), HashText("10.1.2.3"));
  EXPECT_TRUE(answer_.value.empty());
}

TEST_F(HashKeyTest, ACookieIsMadeWhenItHasATimeToLive) {
  HashKeyConfig key = Key(Kind::kCookie, "u");
  EXPECT_EQ(Hash({key}), std::nullopt);
  key.ttl_ms = 90'000;
  key.path = "/";
  key.attributes = {"SameSite=Strict"};
  const auto made = Hash({key});
  ASSERT_TRUE(made);
  EXPECT_EQ(answer_.name, "set-cookie");
  EXPECT_TRUE(answer_.value.ends_with("; Max-Age=90; Path=/; SameSite=Strict; HttpOnly")) << answer_.value;
  // What the client then sends leads to the same endpoint.
  head_.headers.Add("cookie", answer_.value.substr(0, answer_.value.find(';')));
  answer_.value.clear();
  EXPECT_EQ(Hash({key}), made);
  EXPECT_TRUE(answer_.value.empty());
}

}  // namespace
}  // namespace weft::upstream
