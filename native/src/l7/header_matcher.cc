#include "l7/header_matcher.h"

#include "l7.pb.h"

namespace weft::l7 {

std::string_view FieldOf(const http::RequestHead& request, std::string_view name) {
  if (name == ":path") return request.path;
  if (name == ":method") return request.method;
  if (name == ":scheme") return request.scheme;
  if (name == ":authority" || name == "host") return request.authority;
  return request.headers.Joined(name);
}

Result<HeaderMatcher> HeaderMatcher::Compile(const HeaderMatch& match) {
  HeaderMatcher matcher;
  matcher.name_ = match.name();
  if (matcher.name_.empty()) return Error{EINVAL, "a header match without a name"};
  matcher.invert_ = match.invert();
  Result<StringMatcher> value = StringMatcher::Compile(match.value());
  if (!value) return Error{EINVAL, "header " + match.name() + ": " + value.error().what};
  matcher.value_ = std::move(*value);
  return matcher;
}

bool HeaderMatcher::Holds(std::string_view value) const {
  const bool absent = value.data() == nullptr;
  if (value_.kind() == StringMatcher::Kind::kPresent) return absent == invert_;
  if (!invert_) return !absent && value_.Matches(value);
  // What must not match is compared with the empty string when it is missing: `withoutHeaders` of Istio.
  return !value_.Matches(absent ? std::string_view("") : value);
}

bool HeaderMatcher::Matches(const http::RequestHead& request) const { return Holds(FieldOf(request, name_)); }

bool HeaderMatcher::Matches(const http::HeaderMap& headers) const { return Holds(headers.Joined(name_)); }

}  // namespace weft::l7
