#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/message.h"
#include "l7/route_match.h"

namespace weft::l7 {

class Redirect;  // proto/l7.proto

// A compiled Redirect.
class RedirectProgram {
 public:
  static Result<RedirectProgram> Compile(const Redirect& redirect);

  uint16_t status() const { return status_; }
  // `scheme` of the request as the client sees it; `listener_port`: where it arrived.
  std::string Location(const RouteMatch& match, const http::RequestHead& request, std::string_view scheme,
                       uint16_t listener_port) const;

 private:
  enum class PathEdit : uint8_t { kKeep, kFull, kPrefix, kSegmentPrefix };
  enum class PortMode : uint8_t { kKeep, kByScheme, kFromListener };

  uint16_t status_ = 301;
  std::string scheme_;
  std::string authority_;  // host, maybe with a port: replaces both
  std::string host_;       // replaces the host alone
  uint16_t port_ = 0;
  PortMode port_mode_ = PortMode::kKeep;
  PathEdit path_edit_ = PathEdit::kKeep;
  std::string path_;
  bool strip_query_ = false;
};

// "a.com:80" and "[::1]:80" in two; the port is 0 when there is none.
std::pair<std::string_view, uint16_t> SplitAuthority(std::string_view authority);

}  // namespace weft::l7
