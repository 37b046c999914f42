#include "l7/rewrite.h"

#include <re2/re2.h>

#include "l7.pb.h"
#include "l7/regex_cache.h"

namespace weft::l7 {

Result<RewriteProgram> RewriteProgram::Compile(const Rewrite& rewrite) {
  RewriteProgram program;
  program.authority_ = rewrite.authority();
  switch (rewrite.path_case()) {
    case Rewrite::kPrefix:
      program.kind_ = Kind::kPrefix;
      program.text_ = rewrite.prefix();
      break;
    case Rewrite::kFull:
      program.kind_ = Kind::kFull;
      program.text_ = rewrite.full();
      break;
    case Rewrite::kSegmentPrefix:
      program.kind_ = Kind::kSegmentPrefix;
      program.text_ = rewrite.segment_prefix();
      break;
    case Rewrite::kRegex: {
      Result<std::shared_ptr<const re2::RE2>> regex = CompileRegex(rewrite.regex().pattern());
      if (!regex) return Error{EINVAL, "rewrite: " + regex.error().what};
      std::string why;
      if (!(*regex)->CheckRewriteString(rewrite.regex().replacement(), &why)) return Error{EINVAL, "rewrite: " + why};
      program.kind_ = Kind::kRegex;
      program.text_ = rewrite.regex().replacement();
      program.regex_ = std::move(*regex);
      break;
    }
    case Rewrite::PATH_NOT_SET:
      break;
  }
  return program;
}

std::string ReplaceMatched(const RouteMatch& match, std::string_view path, std::string_view by) {
  switch (match.path_kind()) {
    case PathKind::kPrefix:
    case PathKind::kSegmentPrefix:
      return std::string(by) + std::string(path.substr(match.path().size()));
    case PathKind::kExact:
    case PathKind::kRegex:
      return std::string(by);
    case PathKind::kAny:
      break;
  }
  // Without a path match what was matched is "/".
  return std::string(by) + std::string(path.starts_with('/') ? path.substr(1) : path);
}

std::string ReplaceSegmentPrefix(const RouteMatch& match, std::string_view path, std::string_view by) {
  std::string_view rest = path;
  if (match.path_kind() == PathKind::kSegmentPrefix || match.path_kind() == PathKind::kPrefix) {
    rest = path.substr(match.path().size());
  }
  while (by.ends_with('/')) by.remove_suffix(1);
  if (rest.empty()) return by.empty() ? "/" : std::string(by);
  return std::string(by) + (rest.starts_with('/') ? "" : "/") + std::string(rest);
}

std::string_view RewriteProgram::Path(const RouteMatch& match, std::string_view whole, Arena& arena) const {
  const std::string_view path = whole.substr(0, whole.find('?'));
  const std::string_view query = whole.substr(path.size());
  std::string rewritten;
  switch (kind_) {
    case Kind::kNone:
      return whole;
    case Kind::kPrefix:
      rewritten = ReplaceMatched(match, path, text_);
      break;
    case Kind::kFull:
      rewritten = text_;
      break;
    case Kind::kSegmentPrefix:
      rewritten = ReplaceSegmentPrefix(match, path, text_);
      break;
    case Kind::kRegex:
      rewritten = path;
      re2::RE2::GlobalReplace(&rewritten, *regex_, text_);
      break;
  }
  // Nothing that is no path may leave: a relative one would be read as another host by some servers.
  if (!rewritten.starts_with('/')) rewritten.insert(0, "/");
  rewritten += query;
  return arena.Copy(rewritten);
}

}  // namespace weft::l7
