#include "l7/format_string.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "l7/header_matcher.h"

namespace weft::l7 {
namespace {

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return lower;
}

// "2026-01-02T03:04:05.678Z".
std::string IsoTime(double unix_ms) {
  const auto seconds = static_cast<time_t>(unix_ms / 1000);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  const size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  char millis[8];
  std::snprintf(millis, sizeof millis, ".%03dZ", static_cast<int>(static_cast<int64_t>(unix_ms) % 1000));
  return std::string(text, n) + millis;
}

}  // namespace

Result<FormatString> FormatString::Parse(std::string_view text) {
  FormatString format;
  std::string literal;
  std::vector<Part> parts;
  while (!text.empty()) {
    const size_t percent = text.find('%');
    literal += text.substr(0, percent);
    if (percent == std::string_view::npos) break;
    text.remove_prefix(percent + 1);
    if (text.starts_with('%')) {
      literal += '%';
      text.remove_prefix(1);
      continue;
    }
    // The end is a percent sign outside of parentheses.
    size_t end = 0;
    for (bool inside = false; end < text.size() && (inside || text[end] != '%'); ++end) {
      if (text[end] == '(') inside = true;
      if (text[end] == ')') inside = false;
    }
    if (end == text.size()) return Error{EINVAL, "a percent sign that begins nothing; write %% for one"};
    Result<Part> part = ParseCommand(text.substr(0, end));
    if (!part) return part.error();
    text.remove_prefix(end + 1);
    if (part->kind == Kind::kText) {
      literal += part->text;
      continue;
    }
    if (!literal.empty()) parts.push_back({.kind = Kind::kText, .text = std::exchange(literal, {}), .alternative = {}});
    parts.push_back(std::move(*part));
  }
  if (parts.empty()) {
    format.text_ = std::move(literal);
    return format;
  }
  if (!literal.empty()) parts.push_back({.kind = Kind::kText, .text = std::move(literal), .alternative = {}});
  format.parts_ = std::move(parts);
  return format;
}

Result<FormatString::Part> FormatString::ParseCommand(std::string_view command) {
  Part part;
  const size_t open = command.find('(');
  const std::string_view name = command.substr(0, std::min(open, command.find(':')));
  std::string_view argument;
  std::string_view rest = command.substr(name.size());
  if (open != std::string_view::npos && open == name.size()) {
    const size_t close = command.find(')', open);
    if (close == std::string_view::npos) return Error{EINVAL, "%" + std::string(command) + "%: no closing parenthesis"};
    argument = command.substr(open + 1, close - open - 1);
    rest = command.substr(close + 1);
  }
  if (rest.starts_with(':')) {
    rest.remove_prefix(1);
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), part.max_bytes);
    if (error != std::errc() || end != rest.data() + rest.size()) {
      return Error{EINVAL, "%" + std::string(command) + "%: the length is no number"};
    }
  }
  const auto with_header = [&](Kind kind) -> Result<Part> {
    const size_t mark = argument.find('?');
    part.kind = kind;
    part.text = Lower(argument.substr(0, mark));
    if (mark != std::string_view::npos) part.alternative = Lower(argument.substr(mark + 1));
    if (part.text.empty()) return Error{EINVAL, "%" + std::string(command) + "%: no header is named"};
    return part;
  };
  const auto plain = [&](Kind kind) -> Result<Part> {
    part.kind = kind;
    return part;
  };
  if (name == "REQ") return with_header(Kind::kRequestHeader);
  if (name == "RESP") return with_header(Kind::kResponseHeader);
  if (name == "DOWNSTREAM_REMOTE_ADDRESS" || name == "DOWNSTREAM_DIRECT_REMOTE_ADDRESS") {
    return plain(Kind::kDownstreamRemoteAddress);
  }
  if (name == "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" || name == "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT") {
    return plain(Kind::kDownstreamRemoteIp);
  }
  if (name == "DOWNSTREAM_LOCAL_ADDRESS") return plain(Kind::kDownstreamLocalAddress);
  if (name == "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT") return plain(Kind::kDownstreamLocalIp);
  if (name == "DOWNSTREAM_LOCAL_PORT") return plain(Kind::kDownstreamLocalPort);
  if (name == "DOWNSTREAM_PEER_URI_SAN") return plain(Kind::kPeerUri);
  if (name == "REQUESTED_SERVER_NAME") return plain(Kind::kServerName);
  if (name == "PROTOCOL") return plain(Kind::kProtocol);
  if (name == "START_TIME") return plain(Kind::kStartTime);
  if (name == "UPSTREAM_HOST" || name == "UPSTREAM_REMOTE_ADDRESS") return plain(Kind::kUpstreamHost);
  if (name == "RESPONSE_CODE") return plain(Kind::kResponseCode);
  if (name == "RESPONSE_FLAGS") return plain(Kind::kResponseFlags);
  if (name == "ROUTE_NAME") return plain(Kind::kRouteName);
  if (name == "HOSTNAME" || name == "ENVIRONMENT") {
    // Neither changes while the process lives.
    if (name == "HOSTNAME") {
      char host[256] = {};
      gethostname(host, sizeof host - 1);
      part.text = host;
    } else if (const char* value = std::getenv(std::string(argument).c_str())) {
      part.text = value;
    }
    return part;
  }
  return Error{EINVAL, "%" + std::string(command) + "%: this operator is not known"};
}

void FormatString::Append(const FormatContext& context, std::string& into) const {
  if (parts_.empty()) {
    into += text_;
    return;
  }
  for (const Part& part : parts_) {
    const size_t before = into.size();
    AppendPart(part, context, into);
    if (into.size() - before > part.max_bytes) into.resize(before + part.max_bytes);
  }
}

void FormatString::AppendPart(const Part& part, const FormatContext& context, std::string& into) {
  const StreamInfo* downstream = context.downstream;
  switch (part.kind) {
    case Kind::kText:
      into += part.text;
      return;
    case Kind::kRequestHeader:
      if (context.request == nullptr) return;
      if (const std::string_view value = FieldOf(*context.request, part.text); value.data() != nullptr) {
        into += value;
      } else if (!part.alternative.empty()) {
        into += FieldOf(*context.request, part.alternative);
      }
      return;
    case Kind::kResponseHeader:
      if (context.response == nullptr) return;
      if (const std::string_view value = context.response->headers.Joined(part.text); value.data() != nullptr) {
        into += value;
      } else if (!part.alternative.empty()) {
        into += context.response->headers.Joined(part.alternative);
      }
      return;
    case Kind::kDownstreamRemoteAddress:
      if (downstream != nullptr) into += downstream->remote.ToString();
      return;
    case Kind::kDownstreamRemoteIp:
      if (downstream != nullptr) into += downstream->remote.ip.ToString();
      return;
    case Kind::kDownstreamLocalAddress:
      if (downstream != nullptr) into += downstream->local.ToString();
      return;
    case Kind::kDownstreamLocalIp:
      if (downstream != nullptr) into += downstream->local.ip.ToString();
      return;
    case Kind::kDownstreamLocalPort:
      if (downstream != nullptr) into += std::to_string(downstream->local.port);
      return;
    case Kind::kPeerUri:
      if (downstream != nullptr) into += downstream->peer_identity;
      return;
    case Kind::kServerName:
      if (downstream != nullptr) into += downstream->sni;
      return;
    case Kind::kProtocol:
      if (context.request != nullptr) into += http::ProtocolText(context.request->protocol);
      return;
    case Kind::kStartTime:
      into += IsoTime(context.start_unix_ms);
      return;
    case Kind::kUpstreamHost:
      into += context.upstream_host.empty() ? "-" : context.upstream_host;
      return;
    case Kind::kResponseCode:
      into += std::to_string(context.status);
      return;
    case Kind::kResponseFlags:
      into += context.flags.Text();
      return;
    case Kind::kRouteName:
      into += context.route_name.empty() ? "-" : context.route_name;
      return;
  }
}

}  // namespace weft::l7
