#include "l7/route_match.h"

#include <re2/re2.h>

#include <algorithm>

#include "l7.pb.h"
#include "l7/regex_cache.h"

namespace weft::l7 {
namespace {

// The first value of a parameter, as it is written; nullopt: it is absent.
std::optional<std::string_view> QueryValue(std::string_view path, std::string_view name) {
  const size_t mark = path.find('?');
  std::string_view query = mark == std::string_view::npos ? std::string_view() : path.substr(mark + 1);
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const size_t equals = std::min(pair.find('='), pair.size());
    if (pair.substr(0, equals) == name) return pair.substr(std::min(equals + 1, pair.size()));
  }
  return std::nullopt;
}

Status CompileInto(bool has, const StringMatch& match, const char* what, std::optional<StringMatcher>& into) {
  if (!has) return Ok{};
  Result<StringMatcher> compiled = StringMatcher::Compile(match);
  if (!compiled) return Error{EINVAL, std::string(what) + ": " + compiled.error().what};
  into = std::move(*compiled);
  return Ok{};
}

}  // namespace

bool HasSegmentPrefix(std::string_view path, std::string_view prefix) {
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  return path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/');
}

Result<RouteMatch> RouteMatch::Compile(const HttpMatch& match) {
  RouteMatch compiled;
  const PathMatch& path = match.path();
  compiled.ignore_case_ = path.ignore_case();
  switch (path.kind_case()) {
    case PathMatch::kExact:
      compiled.path_kind_ = PathKind::kExact;
      compiled.path_ = path.exact();
      break;
    case PathMatch::kPrefix:
      // Every path begins so.
      if (path.prefix() == "/" || path.prefix().empty()) break;
      compiled.path_kind_ = PathKind::kPrefix;
      compiled.path_ = path.prefix();
      break;
    case PathMatch::kSegmentPrefix:
      if (path.segment_prefix() == "/" || path.segment_prefix().empty()) break;
      compiled.path_kind_ = PathKind::kSegmentPrefix;
      compiled.path_ = path.segment_prefix();
      while (compiled.path_.ends_with('/')) compiled.path_.pop_back();
      break;
    case PathMatch::kRegex: {
      Result<std::shared_ptr<const re2::RE2>> regex = CompileRegex(path.regex(), path.ignore_case());
      if (!regex) return Error{EINVAL, "path: " + regex.error().what};
      compiled.path_kind_ = PathKind::kRegex;
      compiled.path_ = path.regex();
      compiled.path_regex_ = std::move(*regex);
      break;
    }
    case PathMatch::KIND_NOT_SET:
      break;
  }
  for (const Status& status :
       {CompileInto(match.has_scheme(), match.scheme(), "scheme", compiled.scheme_),
        CompileInto(match.has_method(), match.method(), "method", compiled.method_),
        CompileInto(match.has_authority(), match.authority(), "authority", compiled.authority_)}) {
    if (!status) return status.error();
  }
  for (const HeaderMatch& each : match.headers()) {
    Result<HeaderMatcher> header = HeaderMatcher::Compile(each);
    if (!header) return header.error();
    compiled.headers_.push_back(std::move(*header));
  }
  for (const QueryMatch& each : match.query()) {
    Result<StringMatcher> value = StringMatcher::Compile(each.value());
    if (!value) return Error{EINVAL, "query parameter " + each.name() + ": " + value.error().what};
    compiled.query_.push_back({each.name(), std::move(*value)});
  }
  for (const ClaimMatch& each : match.claims()) {
    Result<StringMatcher> value = StringMatcher::Compile(each.value());
    if (!value) return Error{EINVAL, "claim: " + value.error().what};
    compiled.claims_.push_back({{each.path().begin(), each.path().end()}, std::move(*value)});
  }
  compiled.source_namespace_ = match.source_namespace();
  return compiled;
}

bool RouteMatch::MatchesPath(const http::RequestHead& request) const {
  const std::string_view path = request.PathWithoutQuery();
  switch (path_kind_) {
    case PathKind::kAny:
      return true;
    case PathKind::kExact:
      return ignore_case_ ? EqualsIgnoreCase(path, path_) : path == path_;
    case PathKind::kPrefix:
      if (!ignore_case_) return path.starts_with(path_);
      return path.size() >= path_.size() && EqualsIgnoreCase(path.substr(0, path_.size()), path_);
    case PathKind::kSegmentPrefix:
      if (!ignore_case_) return HasSegmentPrefix(path, path_);
      return path.size() >= path_.size() && EqualsIgnoreCase(path.substr(0, path_.size()), path_) &&
             (path.size() == path_.size() || path[path_.size()] == '/');
    case PathKind::kRegex:
      return re2::RE2::FullMatch({path.data(), path.size()}, *path_regex_);
  }
  return false;
}

bool RouteMatch::MatchesRest(const MatchContext& context) const {
  const http::RequestHead& request = context.request;
  if (method_ && !method_->Matches(request.method)) return false;
  if (scheme_ && !scheme_->Matches(request.scheme)) return false;
  if (authority_ && !authority_->Matches(request.authority)) return false;
  if (!source_namespace_.empty() && source_namespace_ != context.peer_namespace) return false;
  for (const HeaderMatcher& each : headers_) {
    if (!each.Matches(request)) return false;
  }
  if (!query_.empty() && !MatchesQuery(request)) return false;
  for (const ClaimMatcher& each : claims_) {
    if (context.token == nullptr) return false;
    const std::vector<std::string> values = context.token->Claim(each.path);
    if (std::ranges::none_of(values, [&](const std::string& value) { return each.value.Matches(value); })) return false;
  }
  return true;
}

bool RouteMatch::MatchesQuery(const http::RequestHead& request) const {
  return std::ranges::all_of(query_, [&](const NamedMatch& each) {
    const std::optional<std::string_view> value = QueryValue(request.path, each.name);
    return value && each.value.Matches(*value);
  });
}

std::string RouteMatch::Pattern() const {
  switch (path_kind_) {
    case PathKind::kAny:
      return "";
    case PathKind::kExact:
    case PathKind::kRegex:
      return path_;
    case PathKind::kPrefix:
    case PathKind::kSegmentPrefix:
      return path_ + "*";
  }
  return "";
}

}  // namespace weft::l7
