#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/message.h"
#include "l7/flags.h"
#include "net/byte_stream.h"

namespace weft::l7 {

// What values of added headers may be made of. A header that is absent leaves nothing.
struct FormatContext {
  const http::RequestHead* request = nullptr;
  const http::ResponseHead* response = nullptr;
  const StreamInfo* downstream = nullptr;
  std::string_view upstream_host;
  std::string_view route_name;
  uint16_t status = 0;
  Flags flags;
  double start_unix_ms = 0;
};

// A header value with %COMMAND% operators, parsed once. %% is a percent sign.
class FormatString {
 public:
  // Names the operator that is not known.
  static Result<FormatString> Parse(std::string_view text);

  bool literal() const { return parts_.empty(); }
  // The whole text when it is literal.
  const std::string& text() const { return text_; }
  void Append(const FormatContext& context, std::string& into) const;

 private:
  enum class Kind : uint8_t {
    kText,
    kRequestHeader,
    kResponseHeader,
    kDownstreamRemoteAddress,
    kDownstreamRemoteIp,
    kDownstreamLocalAddress,
    kDownstreamLocalIp,
    kDownstreamLocalPort,
    kPeerUri,
    kServerName,
    kProtocol,
    kStartTime,
    kUpstreamHost,
    kResponseCode,
    kResponseFlags,
    kRouteName,
  };
  struct Part {
    Kind kind = Kind::kText;
    std::string text;  // literal, or a header's name
    std::string alternative;
    size_t max_bytes = std::string::npos;
  };
  static Result<Part> ParseCommand(std::string_view command);
  static void AppendPart(const Part& part, const FormatContext& context, std::string& into);

  std::string text_;
  std::vector<Part> parts_;
};

}  // namespace weft::l7
