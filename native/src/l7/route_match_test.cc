#include "l7/route_match.h"

#include <gtest/gtest.h>

#include <random>

#include "l7.pb.h"
#include "l7/path_normalization.h"
#include "l7/redirect.h"
#include "l7/rewrite.h"

namespace weft::l7 {
namespace {

class MatchTest : public testing::Test {
 protected:
  MatchTest() : request_(arena_) {
    request_.method = "GET";
    request_.path = "/foo/bar?x=1&y=%2Fa";
    request_.authority = "a.com:8080";
  }
  bool Holds(const HttpMatch& match) { return RouteMatch::Compile(match)->Matches({request_, nullptr, ""}); }

  Arena arena_;
  http::RequestHead request_;
};

TEST_F(MatchTest, APrefixIsOneOfTheStringAndASegmentPrefixOfSegments) {
  HttpMatch match;
  match.mutable_path()->set_prefix("/fo");
  EXPECT_TRUE(Holds(match));
  match.mutable_path()->set_segment_prefix("/fo");
  EXPECT_FALSE(Holds(match));
  match.mutable_path()->set_segment_prefix("/foo/");
  EXPECT_TRUE(Holds(match));
  request_.path = "/foo";
  EXPECT_TRUE(Holds(match));
}

TEST_F(MatchTest, ARegexMatchesTheWholePathWithoutTheQuery) {
  HttpMatch match;
  match.mutable_path()->set_regex("/foo");
  EXPECT_FALSE(Holds(match));
  match.mutable_path()->set_regex("/foo/b[a-z]+");
  EXPECT_TRUE(Holds(match));
}

TEST_F(MatchTest, AHeaderThatMustNotMatchIsTheEmptyStringWhenItIsMissing) {
  HttpMatch match;
  HeaderMatch* header = match.add_headers();
  header->set_name("x-user");
  header->set_invert(true);
  header->mutable_value()->set_exact("");
  EXPECT_FALSE(Holds(match));
  header->mutable_value()->set_exact("root");
  EXPECT_TRUE(Holds(match));
  header->mutable_value()->set_present(true);
  EXPECT_TRUE(Holds(match));
  request_.headers.Add("x-user", "root");
  EXPECT_FALSE(Holds(match));
}

TEST_F(MatchTest, LinesOfOneHeaderAreComparedOneByOne) {
  request_.headers.Add("x-v", "a");
  request_.headers.Add("x-v", "b");
  HttpMatch match;
  HeaderMatch* header = match.add_headers();
  header->set_name("x-v");
  for (const char* value : {"a", "b"}) {
    header->mutable_value()->set_exact(value);
    header->set_invert(false);
    EXPECT_TRUE(Holds(match));
    header->set_invert(true);
    EXPECT_FALSE(Holds(match));
  }
  for (const char* value : {"a,b", "a, b", ""}) {
    header->mutable_value()->set_exact(value);
    header->set_invert(false);
    EXPECT_FALSE(Holds(match));
    header->set_invert(true);
    EXPECT_TRUE(Holds(match));
  }
}

TEST_F(MatchTest, QueryParametersAreComparedAsTheyAreWritten) {
  HttpMatch match;
  QueryMatch* query = match.add_query();
  query->set_name("y");
  query->mutable_value()->set_exact("%2Fa");
  EXPECT_TRUE(Holds(match));
  query->set_name("z");
  query->mutable_value()->set_present(true);
  EXPECT_FALSE(Holds(match));
}

TEST_F(MatchTest, ConsumerRoutesAskForTheNamespaceOfThePeer) {
  HttpMatch match;
  match.set_source_namespace("web");
  const auto compiled = RouteMatch::Compile(match);
  EXPECT_FALSE(compiled->Matches({request_, nullptr, "other"}));
  EXPECT_TRUE(compiled->Matches({request_, nullptr, "web"}));
}

// ---- rewrites
// ---------------------------------------------------------------------------------------------------------

std::string Rewritten(const HttpMatch& match, const Rewrite& rewrite, std::string_view path) {
  Arena arena;
  return std::string(RewriteProgram::Compile(rewrite)->Path(*RouteMatch::Compile(match), path, arena));
}

TEST(RewriteTest, ReplacesTheMatchedPartToTheLetter) {
  HttpMatch match;
  match.mutable_path()->set_prefix("/foo");
  Rewrite rewrite;
  rewrite.set_prefix("/");
  EXPECT_EQ(Rewritten(match, rewrite, "/foo/bar?x=1"), "//bar?x=1");
  EXPECT_EQ(Rewritten(match, rewrite, "/foobar"), "/bar");
  match.mutable_path()->set_exact("/foo");
  rewrite.set_prefix("/b");
  EXPECT_EQ(Rewritten(match, rewrite, "/foo?q"), "/b?q");
}

TEST(RewriteTest, GatewayApiJoinsSegments) {
  HttpMatch match;
  match.mutable_path()->set_segment_prefix("/foo");
  Rewrite rewrite;
  for (const char* by : {"/xyz", "/xyz/"}) {
    rewrite.set_segment_prefix(by);
    EXPECT_EQ(Rewritten(match, rewrite, "/foo/bar"), "/xyz/bar");
  }
  EXPECT_EQ(Rewritten(match, rewrite, "/foo/"), "/xyz/");
  rewrite.set_segment_prefix("/");
  EXPECT_EQ(Rewritten(match, rewrite, "/foo"), "/");
  EXPECT_EQ(Rewritten(match, rewrite, "/foo/"), "/");
  EXPECT_EQ(Rewritten(match, rewrite, "/foo/bar"), "/bar");
}

TEST(RewriteTest, ARegexReplacesEveryOccurrence) {
  Rewrite rewrite;
  rewrite.mutable_regex()->set_pattern("/([a-z])");
  rewrite.mutable_regex()->set_replacement("/\\1\\1");
  EXPECT_EQ(Rewritten({}, rewrite, "/a/b?/c"), "/aa/bb?/c");
}

// ---- redirects
// --------------------------------------------------------------------------------------------------------

class RedirectTest : public MatchTest {
 protected:
  std::string To(const Redirect& redirect, const std::string& scheme = "http", uint16_t port = 80) {
    HttpMatch match;
    match.mutable_path()->set_prefix("/foo");
    return RedirectProgram::Compile(redirect)->Location(*RouteMatch::Compile(match), request_, scheme, port);
  }
};

TEST_F(RedirectTest, KeepsWhatItDoesNotSay) {
  Redirect redirect;
  redirect.set_full("/new");
  EXPECT_EQ(To(redirect), "http://a.com:8080/new?x=1&y=%2Fa");
  redirect.set_full("/new?own");
  EXPECT_EQ(To(redirect), "http://a.com:8080/new?own");
  redirect.set_prefix("/n");
  EXPECT_EQ(To(redirect), "http://a.com:8080/n/bar?x=1&y=%2Fa");
  redirect.set_authority("b.com");
  EXPECT_EQ(To(redirect), "http://b.com/n/bar?x=1&y=%2Fa");
}

TEST_F(RedirectTest, APortOfTheOldSchemeIsDropped) {
  Redirect redirect;
  redirect.set_scheme("https");
  request_.path = "/";
  request_.authority = "a.com:80";
  EXPECT_EQ(To(redirect), "https://a.com/");
  request_.authority = "a.com:8080";
  EXPECT_EQ(To(redirect), "https://a.com:8080/");
  redirect.set_port_mode(Redirect::BY_SCHEME);
  EXPECT_EQ(To(redirect), "https://a.com/");
  redirect.set_port(443);
  EXPECT_EQ(To(redirect), "https://a.com/");
  redirect.set_port(8443);
  EXPECT_EQ(To(redirect), "https://a.com:8443/");
}

TEST_F(RedirectTest, TakesOnlyStatusesThatRedirect) {
  Redirect redirect;
  redirect.set_status(304);
  EXPECT_FALSE(RedirectProgram::Compile(redirect).has_value());
}

// ---- normal forms
// -----------------------------------------------------------------------------------------------------

std::string Normal(std::string_view path, PathForm form = PathForm::kBase) {
  Arena arena;
  const auto normal = NormalizePath(path, form, arena);
  return normal ? std::string(*normal) : "refused";
}

TEST(PathTest, HasOneFormForOnePath) {
  EXPECT_EQ(Normal("/a/../b?c=/../d"), "/b?c=/../d");
  EXPECT_EQ(Normal("/a/%2e%2E/b"), "/b");
  EXPECT_EQ(Normal("/../../b"), "/b");
  EXPECT_EQ(Normal("/a\\b"), "/a/b");
  EXPECT_EQ(Normal("/%61dmin"), "/admin");
  EXPECT_EQ(Normal("/a%2Fb"), "/a%2Fb");
  EXPECT_EQ(Normal("/a//b"), "/a//b");
  EXPECT_EQ(Normal("/a/."), "/a/");
  EXPECT_EQ(Normal("/a/.."), "/");
  EXPECT_EQ(Normal("/a/..b"), "/a/..b");
  EXPECT_EQ(Normal("*"), "*");
  EXPECT_EQ(Normal("/a#b"), "refused");
  EXPECT_EQ(Normal("/a%00"), "refused");
  EXPECT_EQ(Normal("/a%zz"), "refused");
  EXPECT_EQ(Normal("/a%2"), "refused");
}

TEST(PathTest, OtherFormsMergeAndDecodeSlashes) {
  EXPECT_EQ(Normal("/a//b", PathForm::kMergeSlashes), "/a/b");
  EXPECT_EQ(Normal("/a%2f%5Cb", PathForm::kMergeSlashes), "/a%2f%5Cb");
  EXPECT_EQ(Normal("/a%2f%5Cb", PathForm::kDecodeAndMergeSlashes), "/a/b");
  EXPECT_EQ(Normal("/a%2f..%2fb", PathForm::kDecodeAndMergeSlashes), "/b");
  EXPECT_EQ(Normal("/a/../b", PathForm::kNone), "/a/../b");
}

TEST(PathTest, ANormalFormIsItsOwn) {
  std::minstd_rand random(3);
  constexpr std::string_view kPieces[] = {"/", ".", "..", "a", "%2e", "%2F", "\\", "b", "%41", "//", "?"};
  for (int round = 0; round < 20'000; ++round) {
    std::string path = "/";
    for (size_t n = random() % 12; n > 0; --n) path += kPieces[random() % std::size(kPieces)];
    for (const PathForm form : {PathForm::kBase, PathForm::kMergeSlashes, PathForm::kDecodeAndMergeSlashes}) {
      const std::string once = Normal(path, form);
      EXPECT_EQ(Normal(once, form), once) << path;
      EXPECT_EQ(once.substr(0, once.find('?')).find("/../"), std::string::npos) << path;
    }
  }
}

}  // namespace
}  // namespace weft::l7
