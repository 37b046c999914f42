#include "security/authorizer.h"

#include <algorithm>

#include "l7.pb.h"

namespace weft::security {
namespace {

// Istio's default: an authorizer may ask people.
constexpr uint64_t kDefaultTimeoutMs = 600'000;
// What is shown of a body is held in memory until the answer is there.
constexpr uint32_t kMaxBodyBytes = 1024 * 1024;

template <typename Matches>
Status CompileAll(const Matches& matches, std::vector<l7::StringMatcher>& into) {
  for (const l7::StringMatch& each : matches) {
    Result<l7::StringMatcher> matcher = l7::StringMatcher::Compile(each);
    if (!matcher) return matcher.error();
    into.push_back(std::move(*matcher));
  }
  return Ok{};
}

}  // namespace

Result<std::shared_ptr<const AuthorizerProgram>> AuthorizerProgram::Compile(const l7::ExternalAuthorizer& from) {
  auto program = std::make_shared<AuthorizerProgram>();
  program->provider = from.provider();
  program->cluster = from.cluster();
  program->authority = from.authority().empty() ? from.cluster() : from.authority();
  program->grpc = from.grpc();
  program->timeout_ms = from.timeout_ms() == 0 ? kDefaultTimeoutMs : from.timeout_ms();
  program->fail_open = from.fail_open();
  if (from.status_on_error() != 0) {
    if (from.status_on_error() < 200 || from.status_on_error() > 599) {
      return Error{EINVAL, "ext authz provider " + from.provider() + ": status_on_error is no HTTP status"};
    }
    program->status_on_error = static_cast<uint16_t>(from.status_on_error());
  }
  program->path_prefix = from.path_prefix();
  program->body_max_bytes = std::min(from.body_max_bytes(), kMaxBodyBytes);
  program->body_allow_partial = from.body_allow_partial();
  program->body_as_bytes = from.body_as_bytes();
  for (const auto& [name, value] : from.add_request_headers()) program->add_request_headers.emplace_back(name, value);
  for (const Status& status : {CompileAll(from.include_request_headers(), program->include_request_headers),
                               CompileAll(from.headers_to_upstream_on_allow(), program->to_upstream_on_allow),
                               CompileAll(from.headers_to_downstream_on_deny(), program->to_downstream_on_deny),
                               CompileAll(from.headers_to_downstream_on_allow(), program->to_downstream_on_allow)}) {
    if (!status) return status.error();
  }
  return std::shared_ptr<const AuthorizerProgram>(std::move(program));
}

}  // namespace weft::security
