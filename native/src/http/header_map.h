#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/arena.h"

namespace weft::http {

// Names that the proxy itself looks at, so that it compares numbers and not texts. Order: alphabetical.
enum class HeaderId : uint8_t {
  kOther,
  kAccept,
  kAcceptEncoding,
  kAuthorization,
  kB3,
  kBaggage,
  kConnection,
  kContentLength,
  kContentType,
  kCookie,
  kDate,
  kExpect,
  kForwarded,
  kGrpcMessage,
  kGrpcStatus,
  kGrpcTimeout,
  kHost,
  kKeepAlive,
  kLocation,
  kOrigin,
  kProxyConnection,
  kReferer,
  kServer,
  kSetCookie,
  kTe,
  kTraceparent,
  kTracestate,
  kTrailer,
  kTransferEncoding,
  kUpgrade,
  kUserAgent,
  kVary,
  kVia,
  kXB3Flags,
  kXB3ParentSpanId,
  kXB3Sampled,
  kXB3SpanId,
  kXB3TraceId,
  kXEnvoyAttemptCount,
  kXEnvoyOriginalPath,
  kXEnvoyOverloaded,
  kXEnvoyUpstreamServiceTime,
  kXForwardedClientCert,
  kXForwardedFor,
  kXForwardedHost,
  kXForwardedProto,
  kXRequestId,
  kCount,
};

// By the lower-case name; kOther when it is none of ours.
HeaderId HeaderIdOf(std::string_view lower_name);
std::string_view HeaderName(HeaderId id);

struct Header {
  std::string_view name;  // lower case
  std::string_view value;
  HeaderId id = HeaderId::kOther;
};

// Header or trailer fields in order. Names and values live in the arena of the message (or are static); Add copies
// unless told that the bytes live as long. Names are lower case always; a name may come several times.
class HeaderMap {
 public:
  explicit HeaderMap(Arena& arena) : arena_(&arena) {}

  // `name` must be lower case and a token, `value` free of CR, LF and NUL: codecs and compilers check, this does not.
  void Add(std::string_view name, std::string_view value);
  void Add(HeaderId id, std::string_view value);
  // The same without copies, for bytes in this arena or static ones.
  void AddView(Header header) { headers_.push_back(header); }
  // Replaces all of that name by one at the place of the first, or adds it.
  void Set(std::string_view name, std::string_view value);
  void Set(HeaderId id, std::string_view value);
  // How many were removed.
  size_t Remove(std::string_view name);
  size_t Remove(HeaderId id);
  // The first of that name, or null.
  const Header* Find(std::string_view name) const;
  const Header* Find(HeaderId id) const;
  std::string_view Get(HeaderId id) const;  // empty when absent
  // All values of that name joined by ","; copied into the arena only when there are several. Null data(): absent.
  std::string_view Joined(std::string_view name) const;
  size_t Count(HeaderId id) const;

  auto begin() const { return headers_.begin(); }
  auto end() const { return headers_.end(); }
  size_t size() const { return headers_.size(); }
  bool empty() const { return headers_.empty(); }
  void clear() { headers_.clear(); }
  // Bytes as RFC 9113 section 6.5.2 counts them: 32 beside name and value, each.
  size_t ListBytes() const;
  Arena& arena() const { return *arena_; }

 private:
  Arena* arena_;
  std::vector<Header> headers_;
};

}  // namespace weft::http
