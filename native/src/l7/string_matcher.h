#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace re2 {
class RE2;
}

namespace weft::l7 {

class StringMatch;  // proto/l7.proto

// A compiled StringMatch.
class StringMatcher {
 public:
  enum class Kind : uint8_t { kExact, kPrefix, kSuffix, kRegex, kPresent };

  static Result<StringMatcher> Compile(const StringMatch& match);
  static StringMatcher Exact(std::string value, bool ignore_case = false);

  // `present` matches any value here; whether an empty one counts is for the caller to say.
  bool Matches(std::string_view value) const;
  Kind kind() const { return kind_; }
  bool ignore_case() const { return ignore_case_; }
  const std::string& value() const { return value_; }

 private:
  Kind kind_ = Kind::kExact;
  bool ignore_case_ = false;
  std::string value_;
  std::shared_ptr<const re2::RE2> regex_;
};

// ASCII, as HTTP compares names and hosts.
bool EqualsIgnoreCase(std::string_view a, std::string_view b);

}  // namespace weft::l7
