#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/arena.h"
#include "base/result.h"
#include "l7/route_match.h"

namespace weft::l7 {

class Rewrite;  // proto/l7.proto

// A compiled Rewrite.
class RewriteProgram {
 public:
  static Result<RewriteProgram> Compile(const Rewrite& rewrite);

  const std::string& authority() const { return authority_; }
  bool changes_path() const { return kind_ != Kind::kNone; }
  // The new :path; the query stays. `match`: what part of the path the route was chosen by.
  std::string_view Path(const RouteMatch& match, std::string_view path, Arena& arena) const;

 private:
  enum class Kind : uint8_t { kNone, kPrefix, kFull, kRegex, kSegmentPrefix };
  Kind kind_ = Kind::kNone;
  std::string text_;
  std::shared_ptr<const re2::RE2> regex_;
  std::string authority_;
};

// Istio's: the text that was matched is replaced, so that "/foo" -> "/" makes "//bar" of "/foo/bar".
std::string ReplaceMatched(const RouteMatch& match, std::string_view path, std::string_view by);
// Gateway API's: slashes at the joint are neither doubled nor lost.
std::string ReplaceSegmentPrefix(const RouteMatch& match, std::string_view path, std::string_view by);

}  // namespace weft::l7
