#include "l7/route_index.h"

#include <gtest/gtest.h>

#include <random>

#include "l7.pb.h"

namespace weft::l7 {
namespace {

constexpr const char* kPaths[] = {"/", "/a", "/a/", "/a/b", "/ab", "/A", "/a/b/c", "/abc", "/b", "/b/a?x=1", "/ab/c"};

HttpMatch RandomMatch(std::minstd_rand& random) {
  HttpMatch match;
  const std::string path = kPaths[random() % std::size(kPaths)];
  const std::string plain = path.substr(0, path.find('?'));
  switch (random() % 6) {
    case 0:
      match.mutable_path()->set_exact(plain);
      break;
    case 1:
    case 2:
      match.mutable_path()->set_prefix(plain);
      break;
    case 3:
      match.mutable_path()->set_segment_prefix(plain);
      break;
    case 4:
      match.mutable_path()->set_regex(plain + ".*");
      break;
    default:
      break;
  }
  match.mutable_path()->set_ignore_case(random() % 8 == 0 && !match.path().has_regex());
  if (random() % 3 == 0) match.mutable_method()->set_exact(random() % 2 == 0 ? "GET" : "POST");
  return match;
}

TEST(RouteIndexTest, FindsWhatAWalkFinds) {
  std::minstd_rand random(7);
  for (int round = 0; round < 400; ++round) {
    std::vector<RouteMatch> compiled;
    const size_t n = random() % 40 + 1;
    compiled.reserve(n);
    for (size_t i = 0; i < n; ++i) compiled.push_back(*RouteMatch::Compile(RandomMatch(random)));
    std::vector<const RouteMatch*> matches;
    for (const RouteMatch& each : compiled) matches.push_back(&each);
    const RouteIndex index(matches);
    for (const char* path : kPaths) {
      for (const char* method : {"GET", "POST", "PUT"}) {
        Arena arena;
        http::RequestHead request(arena);
        request.method = method;
        request.path = path;
        const MatchContext context{request, nullptr, ""};
        size_t walked = RouteIndex::kNone;
        for (size_t i = 0; i < n && walked == RouteIndex::kNone; ++i) {
          if (compiled[i].Matches(context)) walked = i;
        }
        EXPECT_EQ(index.Find(context), walked) << path;
      }
    }
  }
}

TEST(RouteIndexTest, ManyLengthsOfPrefixesStillKeepTheOrder) {
  std::vector<RouteMatch> compiled;
  for (size_t i = 100; i > 0; --i) {
    HttpMatch match;
    match.mutable_path()->set_prefix("/" + std::string(i, 'x'));
    compiled.push_back(*RouteMatch::Compile(match));
  }
  std::vector<const RouteMatch*> matches;
  for (const RouteMatch& each : compiled) matches.push_back(&each);
  Arena arena;
  http::RequestHead request(arena);
  request.path = "/xxxxx";
  EXPECT_EQ(RouteIndex(matches).Find({request, nullptr, ""}), 95u);
}

}  // namespace
}  // namespace weft::l7
