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

bool HeaderMatcher::Holds(bool present, bool one_matches) const {
  if (value_.kind() == StringMatcher::Kind::kPresent) return present != invert_;
  if (!invert_) return one_matches;
  // What must not match is compared with the empty string when it is missing: `withoutHeaders` of Istio.
  return present ? !one_matches : !value_.Matches("");
}

bool HeaderMatcher::Matches(const http::RequestHead& request) const {
  if (!name_.starts_with(':') && name_ != "host") return Matches(request.headers);
  const std::string_view value = FieldOf(request, name_);
  const bool present = value.data() != nullptr;
  return Holds(present, present && value_.Matches(value));
}

bool HeaderMatcher::Matches(const http::HeaderMap& headers) const {
  bool present = false;
  for (const http::Header& each : headers) {
    if (each.name != name_) continue;
    present = true;
    if (value_.Matches(each.value)) return Holds(true, true);
  }
  return Holds(present, false);
}

}  // namespace weft::l7
