#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "http/message.h"
#include "l7/string_matcher.h"

namespace weft::l7 {

class HeaderMatch;  // proto/l7.proto

// A compiled HeaderMatch. Of several lines each is compared by itself, and one that matches is enough: as in Envoy. The
// pseudo-headers are taken too.
class HeaderMatcher {
 public:
  static Result<HeaderMatcher> Compile(const HeaderMatch& match);
  bool Matches(const http::RequestHead& request) const;
  bool Matches(const http::HeaderMap& headers) const;

 private:
  bool Holds(bool present, bool one_matches) const;

  std::string name_;
  StringMatcher value_ = StringMatcher::Exact({});
  bool invert_ = false;
};

// A field by name, pseudo-headers and "host" included. Null data(): absent.
std::string_view FieldOf(const http::RequestHead& request, std::string_view lower_name);

}  // namespace weft::l7
