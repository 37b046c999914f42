#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "l7/string_matcher.h"

namespace weft::l7 {
class ExternalAuthorizer;  // proto/l7.proto
}

namespace weft::security {

// A compiled ExternalAuthorizer.
struct AuthorizerProgram {
  std::string provider;
  std::string cluster;
  std::string authority;
  bool grpc = false;
  uint64_t timeout_ms = 0;
  bool fail_open = false;
  uint16_t status_on_error = 403;
  std::string path_prefix;
  std::vector<l7::StringMatcher> include_request_headers;
  std::vector<std::pair<std::string, std::string>> add_request_headers;
  std::vector<l7::StringMatcher> to_upstream_on_allow, to_downstream_on_deny, to_downstream_on_allow;
  uint32_t body_max_bytes = 0;
  bool body_allow_partial = false;
  bool body_as_bytes = false;

  static Result<std::shared_ptr<const AuthorizerProgram>> Compile(const l7::ExternalAuthorizer& authorizer);
};

}  // namespace weft::security
