#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "http/header_map.h"

namespace weft::http {

enum class Protocol : uint8_t { kHttp10, kHttp11, kHttp2 };

// "HTTP/1.1" and so on, as access logs have it.
std::string_view ProtocolText(Protocol protocol);

// RFC 3986 section 3.2, without user information: what follows an "@" would be the host for some readers only. Empty is
// one.
bool IsAuthority(std::string_view text);

// A request without its body. The pseudo-header parts are apart from `headers`: there is no `host` in `headers`, the
// codecs turn it into `authority` and back. What belongs to one connection only (connection, keep-alive,
// transfer-encoding, te but for "trailers", upgrade but for `upgrade` below, proxy-connection) is gone; content-length
// stays.
struct RequestHead {
  explicit RequestHead(Arena& arena) : headers(arena) {}

  Protocol protocol = Protocol::kHttp11;
  std::string_view method;
  std::string_view scheme;  // empty in origin-form HTTP/1: the connection's
  std::string_view authority;
  std::string_view path;     // with the query; "*" for OPTIONS *; empty for CONNECT
  std::string_view upgrade;  // "websocket": an Upgrade of HTTP/1, or the :protocol of an extended CONNECT
  std::optional<uint64_t> content_length;
  bool expect_continue = false;
  HeaderMap headers;

  std::string_view PathWithoutQuery() const { return path.substr(0, path.find('?')); }
};

struct ResponseHead {
  explicit ResponseHead(Arena& arena) : headers(arena) {}

  Protocol protocol = Protocol::kHttp11;
  uint16_t status = 0;
  std::optional<uint64_t> content_length;
  bool upgraded = false;  // 101, or 200 to an extended CONNECT: bytes follow both ways
  HeaderMap headers;
};

// Why a stream ended before its time. Response flags and retry decisions come from it.
enum class StreamError : uint8_t {
  kNone,              // both messages were complete
  kReset,             // the peer reset the stream
  kRefused,           // REFUSED_STREAM, or GOAWAY before it was seen: surely not processed
  kConnectionClosed,  // the connection ended under it
  kProtocol,          // the peer broke the protocol
  kLimit,             // a bound of ours: header bytes, flood budget
  kLocal,             // we reset it
  kIdleTimeout,
};

}  // namespace weft::http
