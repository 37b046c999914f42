#include "waypoint/sniff.h"

#include <algorithm>
#include <string_view>

namespace weft::waypoint {
namespace {

constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr uint8_t kTlsHandshake = 22;
constexpr uint8_t kTlsMajor = 3;
constexpr uint8_t kTlsNewestMinor = 4;
constexpr size_t kMaxMethod = 24;

std::string_view TextOf(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Methods are case-sensitive, and all that are registered are upper case: other tokens are another protocol's commands.
bool IsMethodCharacter(char c) { return (c >= 'A' && c <= 'Z') || c == '-'; }

// "HTTP/1.0" or "HTTP/1.1" at the end of the first line. Redis and others too begin lines with "GET ".
bool EndsAsRequestLine(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line.ends_with(" HTTP/1.1") || line.ends_with(" HTTP/1.0");
}

Sniffed SniffTls(std::span<const uint8_t> bytes) {
  if (bytes.size() > 1 && bytes[1] != kTlsMajor) return Sniffed::kOther;
  if (bytes.size() > 2 && bytes[2] > kTlsNewestMinor) return Sniffed::kOther;
  return bytes.size() > 2 ? Sniffed::kTls : Sniffed::kMore;
}

Sniffed SniffHttp1(std::string_view text) {
  const size_t space = std::min(text.find(' '), text.size());
  const std::string_view method = text.substr(0, space);
  if (method.size() > kMaxMethod || !std::all_of(method.begin(), method.end(), IsMethodCharacter)) {
    return Sniffed::kOther;
  }
  if (space == text.size()) return Sniffed::kMore;
  if (method.empty()) return Sniffed::kOther;
  const size_t line = text.find('\n');
  if (line != std::string_view::npos) {
    return EndsAsRequestLine(text.substr(0, line)) ? Sniffed::kHttp1 : Sniffed::kOther;
  }
  return text.size() >= kMaxSniffBytes ? Sniffed::kHttp1 : Sniffed::kMore;
}

}  // namespace

Sniffed SniffHttp(std::span<const uint8_t> bytes) {
  const std::string_view text = TextOf(bytes);
  if (text.starts_with(kHttp2Preface)) return Sniffed::kHttp2;
  return kHttp2Preface.starts_with(text) ? Sniffed::kMore : Sniffed::kHttp1;
}

Sniffed Sniff(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return Sniffed::kMore;
  if (bytes[0] == kTlsHandshake) return SniffTls(bytes);
  const Sniffed http = SniffHttp(bytes);
  return http == Sniffed::kHttp1 ? SniffHttp1(TextOf(bytes)) : http;
}

}  // namespace weft::waypoint
