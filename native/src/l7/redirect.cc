#include "l7/redirect.h"

#include <charconv>
#include <utility>

#include "l7.pb.h"
#include "l7/rewrite.h"

namespace weft::l7 {
namespace {

constexpr uint16_t kHttpPort = 80;
constexpr uint16_t kHttpsPort = 443;

bool IsDefault(std::string_view scheme, uint16_t port) {
  return (scheme == "http" && port == kHttpPort) || (scheme == "https" && port == kHttpsPort);
}

}  // namespace

std::pair<std::string_view, uint16_t> SplitAuthority(std::string_view authority) {
  const size_t colon = authority.rfind(':');
  // An IPv6 address without a port has colons of its own, within brackets.
  if (colon == std::string_view::npos || authority.find(']', colon) != std::string_view::npos) return {authority, 0};
  uint16_t port = 0;
  const std::string_view digits = authority.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size()) return {authority, 0};
  return {authority.substr(0, colon), port};
}

Result<RedirectProgram> RedirectProgram::Compile(const Redirect& redirect) {
  RedirectProgram program;
  switch (redirect.status()) {
    case 0:
      break;
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
      program.status_ = static_cast<uint16_t>(redirect.status());
      break;
    default:
      return Error{EINVAL,
                   "redirect: status " + std::to_string(redirect.status()) + " is none of 301, 302, 303, 307, 308"};
  }
  if (redirect.port() > 65535) return Error{EINVAL, "redirect: port " + std::to_string(redirect.port())};
  program.scheme_ = redirect.scheme();
  program.authority_ = redirect.authority();
  program.host_ = redirect.host();
  program.port_ = static_cast<uint16_t>(redirect.port());
  program.strip_query_ = redirect.strip_query();
  program.port_mode_ = redirect.port_mode() == Redirect::BY_SCHEME       ? PortMode::kByScheme
                       : redirect.port_mode() == Redirect::FROM_LISTENER ? PortMode::kFromListener
                                                                         : PortMode::kKeep;
  switch (redirect.path_case()) {
    case Redirect::kFull:
      program.path_edit_ = PathEdit::kFull;
      program.path_ = redirect.full();
      break;
    case Redirect::kPrefix:
      program.path_edit_ = PathEdit::kPrefix;
      program.path_ = redirect.prefix();
      break;
    case Redirect::kSegmentPrefix:
      program.path_edit_ = PathEdit::kSegmentPrefix;
      program.path_ = redirect.segment_prefix();
      break;
    case Redirect::PATH_NOT_SET:
      break;
  }
  return program;
}

std::string RedirectProgram::Location(const RouteMatch& match, const http::RequestHead& request,
                                      std::string_view request_scheme, uint16_t listener_port) const {
  const std::string_view scheme = scheme_.empty() ? request_scheme : std::string_view(scheme_);
  std::string location(scheme);
  location += "://";
  if (!authority_.empty()) {
    location += authority_;
  } else {
    const auto [host, request_port] = SplitAuthority(request.authority);
    uint16_t port = port_;
    if (port == 0) {
      switch (port_mode_) {
        case PortMode::kKeep:
          // A port that was right for the old scheme is wrong for the new one.
          port = scheme_.empty() || !IsDefault(request_scheme, request_port) ? request_port : 0;
          break;
        case PortMode::kByScheme:
          break;
        case PortMode::kFromListener:
          port = listener_port;
          break;
      }
    }
    location += host_.empty() ? host : std::string_view(host_);
    if (port != 0 && !IsDefault(scheme, port)) location += ":" + std::to_string(port);
  }
  const std::string_view path = request.PathWithoutQuery();
  const std::string_view query = request.path.substr(path.size());
  bool with_query = !strip_query_;
  switch (path_edit_) {
    case PathEdit::kKeep:
      location += path;
      break;
    case PathEdit::kFull:
      location += path_;
      with_query = with_query && path_.find('?') == std::string::npos;
      break;
    case PathEdit::kPrefix:
      location += ReplaceMatched(match, path, path_);
      break;
    case PathEdit::kSegmentPrefix:
      location += ReplaceSegmentPrefix(match, path, path_);
      break;
  }
  if (with_query) location += query;
  return location;
}

}  // namespace weft::l7
