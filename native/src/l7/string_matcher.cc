#include "l7/string_matcher.h"

#include <strings.h>

#include <utility>

#include "l7.pb.h"
#include "l7/regex_cache.h"

namespace weft::l7 {

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

Result<StringMatcher> StringMatcher::Compile(const StringMatch& match) {
  StringMatcher matcher;
  matcher.ignore_case_ = match.ignore_case();
  switch (match.kind_case()) {
    case StringMatch::kExact:
      matcher.value_ = match.exact();
      return matcher;
    case StringMatch::kPrefix:
      matcher.kind_ = Kind::kPrefix;
      matcher.value_ = match.prefix();
      return matcher;
    case StringMatch::kSuffix:
      matcher.kind_ = Kind::kSuffix;
      matcher.value_ = match.suffix();
      return matcher;
    case StringMatch::kRegex: {
      Result<std::shared_ptr<const re2::RE2>> regex = CompileRegex(match.regex(), match.ignore_case());
      if (!regex) return regex.error();
      matcher.kind_ = Kind::kRegex;
      matcher.value_ = match.regex();
      matcher.regex_ = std::move(*regex);
      return matcher;
    }
    case StringMatch::kPresent:
      matcher.kind_ = Kind::kPresent;
      return matcher;
    case StringMatch::KIND_NOT_SET:
      break;
  }
  return Error{EINVAL, "a string match says nothing"};
}

StringMatcher StringMatcher::Exact(std::string value, bool ignore_case) {
  StringMatcher matcher;
  matcher.value_ = std::move(value);
  matcher.ignore_case_ = ignore_case;
  return matcher;
}

bool StringMatcher::Matches(std::string_view value) const {
  const auto equals = [&](std::string_view part) {
    return ignore_case_ ? EqualsIgnoreCase(part, value_) : part == value_;
  };
  switch (kind_) {
    case Kind::kExact:
      return equals(value);
    case Kind::kPrefix:
      return value.size() >= value_.size() && equals(value.substr(0, value_.size()));
    case Kind::kSuffix:
      return value.size() >= value_.size() && equals(value.substr(value.size() - value_.size()));
    case Kind::kRegex:
      return re2::RE2::FullMatch({value.data(), value.size()}, *regex_);
    case Kind::kPresent:
      return true;
  }
  return false;
}

}  // namespace weft::l7
