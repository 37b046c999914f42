#include "http/http1_head.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace weft::http {
namespace {

constexpr std::array<bool, 256> MakeTokens() {
  std::array<bool, 256> tokens{};
  for (int c = '0'; c <= '9'; ++c) tokens[static_cast<size_t>(c)] = true;
  for (int c = 'a'; c <= 'z'; ++c) tokens[static_cast<size_t>(c)] = true;
  for (int c = 'A'; c <= 'Z'; ++c) tokens[static_cast<size_t>(c)] = true;
  for (const char c : {'!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~'}) {
    tokens[static_cast<unsigned char>(c)] = true;
  }
  return tokens;
}
constexpr std::array<bool, 256> kToken = MakeTokens();

bool IsToken(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return kToken[static_cast<unsigned char>(c)]; });
}

// Field values and targets: no control characters but, in values, tabs.
bool IsValue(std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && byte != '\t') || byte == 0x7f) return false;
  }
  return true;
}
bool IsTarget(std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte == 0x7f) return false;
  }
  return !text.empty();
}

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool EqualsLower(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() &&
         std::equal(text.begin(), text.end(), lower.begin(), [](char a, char b) { return Lower(a) == b; });
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

template <typename Visit>
void ForEachElement(std::string_view list, Visit visit) {
  while (!list.empty()) {
    const size_t end = std::min(list.find(','), list.size());
    if (const std::string_view element = Trim(list.substr(0, end)); !element.empty()) visit(element);
    list.remove_prefix(std::min(end + 1, list.size()));
  }
}

std::optional<uint64_t> ParseLength(std::string_view text) {
  if (text.empty() || text.size() > 18) return std::nullopt;  // below 2^63
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  return value;
}

constexpr Http1Problem Bad(std::string_view detail) { return {400, detail}; }

// Names in Connection fields: each is looked for among all fields, so their number is bounded too.
constexpr size_t kMaxConnectionNames = 32;

// Lines of a head, without their ends.
class Lines {
 public:
  Lines(char* block, size_t size) : at_(block), end_(block + size) {}
  // False at the empty line.
  bool Next(char*& begin, size_t& size) {
    char* newline = static_cast<char*>(std::memchr(at_, '\n', static_cast<size_t>(end_ - at_)));
    if (newline == nullptr) return false;
    begin = at_;
    size = static_cast<size_t>(newline - at_) - 1;  // FindHeadEnd has seen the CR
    at_ = newline + 1;
    return size > 0;
  }

 private:
  char* at_;
  char* end_;
};

// What fields that frame messages said, over all lines.
struct Framing {
  std::optional<uint64_t> length;
  bool chunked = false;
  bool close = false, keep_alive = false, upgrade = false;
  std::string_view upgrade_to;
  std::string_view host;
  bool has_host = false;
  bool expect_continue = false, expect_other = false;
  bool te_trailers = false;
  size_t names_in_connection = 0;
};

std::optional<Http1Problem> TakeField(Header header, Framing& framing, HeaderMap& headers) {
  switch (header.id) {
    case HeaderId::kContentLength: {
      const std::optional<uint64_t> length = ParseLength(header.value);
      if (!length) return Bad("content-length is no number");
      if (framing.length) return Bad("content-length twice");
      framing.length = length;
      headers.AddView(header);
      return std::nullopt;
    }
    case HeaderId::kTransferEncoding:
      if (framing.chunked) return Bad("transfer-encoding twice");
      if (!EqualsLower(header.value, "chunked")) return Http1Problem{501, "transfer-encoding is not chunked"};
      framing.chunked = true;
      return std::nullopt;
    case HeaderId::kConnection:
      ForEachElement(header.value, [&](std::string_view each) {
        if (EqualsLower(each, "close")) {
          framing.close = true;
        } else if (EqualsLower(each, "keep-alive")) {
          framing.keep_alive = true;
        } else if (EqualsLower(each, "upgrade")) {
          framing.upgrade = true;
        } else if (!EqualsLower(each, "te") && !EqualsLower(each, "http2-settings")) {
          ++framing.names_in_connection;
        }
      });
      if (framing.names_in_connection > kMaxConnectionNames) return Bad("connection with too many names");
      // Kept until the end, when the fields that it names are known.
      headers.AddView(header);
      return std::nullopt;
    case HeaderId::kHost:
      if (framing.has_host) return Bad("host twice");
      if (!IsAuthority(header.value)) return Bad("host is none");
      framing.has_host = true;
      framing.host = header.value;
      return std::nullopt;
    case HeaderId::kUpgrade:
      framing.upgrade_to = header.value;
      return std::nullopt;
    case HeaderId::kKeepAlive:
    case HeaderId::kProxyConnection:
      return std::nullopt;
    case HeaderId::kTe:
      ForEachElement(header.value, [&](std::string_view each) {
        if (EqualsLower(each, "trailers")) framing.te_trailers = true;
      });
      return std::nullopt;
    case HeaderId::kExpect:
      if (EqualsLower(header.value, "100-continue")) {
        framing.expect_continue = true;
      } else {
        framing.expect_other = true;
      }
      headers.AddView(header);
      return std::nullopt;
    default:
      headers.AddView(header);
      return std::nullopt;
  }
}

// Splits a line, in place, into a lower-case name and a value.
std::optional<Http1Problem> ParseField(char* line, size_t size, Header& header) {
  const std::string_view whole(line, size);
  const size_t colon = whole.find(':');
  if (whole.front() == ' ' || whole.front() == '\t') return Bad("a folded header line");
  if (colon == std::string_view::npos) return Bad("a header line without a colon");
  for (size_t i = 0; i < colon; ++i) {
    if (!kToken[static_cast<unsigned char>(line[i])]) return Bad("a header name with a character that is none");
    line[i] = Lower(line[i]);
  }
  if (colon == 0) return Bad("a header without a name");
  header.name = whole.substr(0, colon);
  header.value = Trim(whole.substr(colon + 1));
  if (!IsValue(header.value)) return Bad("a header value with a control character");
  header.id = HeaderIdOf(header.name);
  return std::nullopt;
}

std::optional<Http1Problem> ParseFields(Lines& lines, size_t max_headers, Framing& framing, HeaderMap& headers) {
  char* line = nullptr;
  size_t size = 0;
  size_t count = 0;
  while (lines.Next(line, size)) {
    if (++count > max_headers) return Http1Problem{431, "too many headers"};
    Header header;
    if (const auto problem = ParseField(line, size, header)) return problem;
    if (const auto problem = TakeField(header, framing, headers)) return problem;
  }
  if (framing.names_in_connection > 0) {
    // Fields of this connection only (RFC 9110 section 7.6.1).
    std::vector<std::string_view> named;
    for (const Header& each : headers) {
      if (each.id != HeaderId::kConnection) continue;
      ForEachElement(each.value, [&](std::string_view element) { named.push_back(element); });
    }
    std::vector<std::string_view> removed;
    for (const Header& each : headers) {
      if (each.id == HeaderId::kContentLength || each.id == HeaderId::kExpect) continue;
      if (std::ranges::any_of(named, [&](std::string_view name) { return EqualsLower(name, each.name); })) {
        removed.push_back(each.name);
      }
    }
    for (const std::string_view name : removed) headers.Remove(name);
  }
  headers.Remove(HeaderId::kConnection);
  return std::nullopt;
}

// "http://host/path" in scheme, authority and path.
bool SplitAbsolute(std::string_view target, RequestHead& head) {
  const size_t scheme_end = target.find("://");
  if (scheme_end == std::string_view::npos) return false;
  const std::string_view scheme = target.substr(0, scheme_end);
  if (!EqualsLower(scheme, "http") && !EqualsLower(scheme, "https")) return false;
  head.scheme = EqualsLower(scheme, "http") ? "http" : "https";
  std::string_view rest = target.substr(scheme_end + 3);
  const size_t path = std::min(rest.find_first_of("/?"), rest.size());
  head.authority = rest.substr(0, path);
  rest.remove_prefix(path);
  if (head.authority.empty() || !IsAuthority(head.authority)) return false;
  if (rest.starts_with('/')) {
    head.path = rest;
  } else {
    char* joined = head.headers.arena().Take(rest.size() + 1);
    joined[0] = '/';
    std::memcpy(joined + 1, rest.data(), rest.size());
    head.path = {joined, rest.size() + 1};
  }
  return true;
}

std::optional<Http1Problem> ParseRequestLine(std::string_view line, RequestHead& head) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return Bad("the request line has not three parts");
  head.method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!IsToken(head.method)) return Bad("the method is none");
  if (!IsTarget(target)) return Bad("the target has a character that is none");
  if (version == "HTTP/1.1") {
    head.protocol = Protocol::kHttp11;
  } else if (version == "HTTP/1.0") {
    head.protocol = Protocol::kHttp10;
  } else {
    return version.starts_with("HTTP/") ? Http1Problem{505, "the version is neither 1.0 nor 1.1"}
                                        : Bad("the request line has no version");
  }
  if (head.method == "CONNECT") {
    if (!IsAuthority(target)) return Bad("CONNECT to what is no authority");
    head.authority = target;
    return std::nullopt;
  }
  if (target.front() == '/') {
    head.path = target;
    return std::nullopt;
  }
  if (target == "*" && head.method == "OPTIONS") {
    head.path = target;
    return std::nullopt;
  }
  if (!SplitAbsolute(target, head)) return Bad("the target is of no form");
  return std::nullopt;
}

}  // namespace

std::optional<size_t> FindHeadEnd(std::string_view bytes, size_t& scanned) {
  size_t at = scanned;
  while (true) {
    const size_t newline = bytes.find('\n', at);
    if (newline == std::string_view::npos) break;
    if (newline == 0 || bytes[newline - 1] != '\r') return std::nullopt;
    at = newline + 1;
    if (newline == 1 || (newline >= 3 && bytes[newline - 2] == '\n')) {
      scanned = at;
      return at;
    }
  }
  scanned = at;
  return 0;
}

std::optional<Http1Problem> ParseRequestHead(char* block, size_t size, size_t max_headers, RequestHead& head,
                                             Http1Meta& meta) {
  Lines lines(block, size);
  char* line = nullptr;
  size_t length = 0;
  if (!lines.Next(line, length)) return Bad("an empty head");
  if (const auto problem = ParseRequestLine({line, length}, head)) return problem;
  Framing framing;
  if (const auto problem = ParseFields(lines, max_headers, framing, head.headers)) return problem;
  const bool old = head.protocol == Protocol::kHttp10;
  if (framing.chunked && framing.length) return Bad("transfer-encoding and content-length");
  if (framing.chunked && old) return Bad("transfer-encoding in HTTP/1.0");
  if (!framing.has_host && !old) return Bad("no host");
  // The target's authority wins over Host (RFC 9112 section 3.2.2).
  if (head.authority.empty()) head.authority = framing.host;
  if (framing.expect_other) return Http1Problem{417, "an expectation that is not 100-continue"};
  head.expect_continue = framing.expect_continue && !old;
  meta.framing = framing.chunked                  ? Http1Framing::kChunked
                 : framing.length.value_or(0) > 0 ? Http1Framing::kLength
                                                  : Http1Framing::kNone;
  meta.length = framing.length.value_or(0);
  if (framing.length) head.content_length = framing.length;
  meta.keep_alive = old ? framing.keep_alive && !framing.close : !framing.close;
  meta.trailers_wanted = framing.te_trailers;
  if (framing.te_trailers) head.headers.AddView({HeaderName(HeaderId::kTe), "trailers", HeaderId::kTe});
  // Cleartext HTTP/2 is spoken with prior knowledge only (RFC 9113 section 3.1): that upgrade is ignored.
  if (framing.upgrade && !framing.upgrade_to.empty() && !old && !EqualsLower(framing.upgrade_to, "h2c")) {
    if (meta.framing != Http1Framing::kNone) return Bad("an upgrade with a body");
    head.upgrade = framing.upgrade_to;
  }
  if (head.method == "CONNECT" && (framing.chunked || framing.length)) return Bad("CONNECT with a body");
  return std::nullopt;
}

std::optional<Http1Problem> ParseResponseHead(char* block, size_t size, size_t max_headers,
                                              std::string_view request_method, ResponseHead& head, Http1Meta& meta) {
  Lines lines(block, size);
  char* line = nullptr;
  size_t length = 0;
  if (!lines.Next(line, length)) return Bad("an empty head");
  const std::string_view status_line(line, length);
  if (status_line.starts_with("HTTP/1.1 ")) {
    head.protocol = Protocol::kHttp11;
  } else if (status_line.starts_with("HTTP/1.0 ")) {
    head.protocol = Protocol::kHttp10;
  } else {
    return Bad("the status line has no version");
  }
  const std::string_view code = status_line.substr(9, 3);
  if (code.size() != 3 || !std::ranges::all_of(code, [](char c) { return c >= '0' && c <= '9'; }) ||
      (status_line.size() > 12 && status_line[12] != ' ')) {
    return Bad("the status is no number");
  }
  head.status = static_cast<uint16_t>((code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0'));
  if (head.status < 100 || !IsValue(status_line)) return Bad("the status line has a character that is none");
  Framing framing;
  if (const auto problem = ParseFields(lines, max_headers, framing, head.headers)) return problem;
  const bool old = head.protocol == Protocol::kHttp10;
  meta.keep_alive = old ? framing.keep_alive && !framing.close : !framing.close;
  if (framing.chunked && framing.length) return Bad("transfer-encoding and content-length");
  if (framing.chunked && old) return Bad("transfer-encoding in HTTP/1.0");
  head.upgraded = head.status == 101 || (request_method == "CONNECT" && head.status / 100 == 2);
  if (head.upgraded && !framing.upgrade_to.empty()) {
    head.headers.AddView({HeaderName(HeaderId::kUpgrade), framing.upgrade_to, HeaderId::kUpgrade});
  }
  const bool no_body = request_method == "HEAD" || head.status < 200 || head.status == 204 || head.status == 304;
  if (framing.length) head.content_length = framing.length;
  if (head.upgraded || no_body) {
    meta.framing = Http1Framing::kNone;
  } else if (framing.chunked) {
    meta.framing = Http1Framing::kChunked;
  } else if (framing.length) {
    meta.framing = *framing.length > 0 ? Http1Framing::kLength : Http1Framing::kNone;
    meta.length = *framing.length;
  } else {
    meta.framing = Http1Framing::kUntilClose;
    meta.keep_alive = false;
  }
  return std::nullopt;
}

std::optional<Http1Problem> ParseTrailers(char* block, size_t size, size_t max_headers, HeaderMap& trailers) {
  Lines lines(block, size);
  char* line = nullptr;
  size_t length = 0;
  size_t count = 0;
  while (lines.Next(line, length)) {
    if (++count > max_headers) return Http1Problem{431, "too many trailers"};
    Header header;
    if (const auto problem = ParseField(line, length, header)) return problem;
    switch (header.id) {
      case HeaderId::kContentLength:
      case HeaderId::kTransferEncoding:
      case HeaderId::kHost:
      case HeaderId::kConnection:
      case HeaderId::kKeepAlive:
      case HeaderId::kUpgrade:
      case HeaderId::kTe:
      case HeaderId::kTrailer:
      case HeaderId::kAuthorization:
      case HeaderId::kExpect:
      case HeaderId::kCookie:
      case HeaderId::kSetCookie:
        continue;
      default:
        trailers.AddView(header);
    }
  }
  return std::nullopt;
}

std::string_view ReasonPhrase(uint16_t status) {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 103:
      return "Early Hints";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Payload Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 418:
      return "I'm a teapot";
    case 421:
      return "Misdirected Request";
    case 422:
      return "Unprocessable Entity";
    case 426:
      return "Upgrade Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "";
  }
}

}  // namespace weft::http
