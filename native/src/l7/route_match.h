#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/message.h"
#include "l7/header_matcher.h"
#include "l7/string_matcher.h"
#include "security/verified_token.h"

namespace weft::l7 {

class HttpMatch;  // proto/l7.proto

enum class PathKind : uint8_t { kAny, kExact, kPrefix, kSegmentPrefix, kRegex };

// What routes are matched by, beside the request itself.
struct MatchContext {
  const http::RequestHead& request;
  const security::VerifiedToken* token = nullptr;
  std::string_view peer_namespace;
};

// A compiled HttpMatch: all of it must hold.
class RouteMatch {
 public:
  static Result<RouteMatch> Compile(const HttpMatch& match);

  bool Matches(const MatchContext& context) const { return MatchesPath(context.request) && MatchesRest(context); }
  bool MatchesPath(const http::RequestHead& request) const;
  // All but the path.
  bool MatchesRest(const MatchContext& context) const;

  PathKind path_kind() const { return path_kind_; }
  const std::string& path() const { return path_; }
  bool ignore_case() const { return ignore_case_; }
  // As spans are named: "/x", "/x*", the regex; empty: any path.
  std::string Pattern() const;

 private:
  struct NamedMatch {
    std::string name;
    StringMatcher value;
  };
  struct ClaimMatcher {
    std::vector<std::string> path;
    StringMatcher value;
  };
  bool MatchesQuery(const http::RequestHead& request) const;

  PathKind path_kind_ = PathKind::kAny;
  std::string path_;
  bool ignore_case_ = false;
  std::shared_ptr<const re2::RE2> path_regex_;
  std::optional<StringMatcher> scheme_, method_, authority_;
  std::vector<HeaderMatcher> headers_;
  std::vector<NamedMatch> query_;
  std::vector<ClaimMatcher> claims_;
  std::string source_namespace_;
};

// `prefix` matches at the end of a path segment (Gateway API): "/a" holds for "/a" and "/a/b", not for "/ab".
bool HasSegmentPrefix(std::string_view path, std::string_view prefix);

}  // namespace weft::l7
