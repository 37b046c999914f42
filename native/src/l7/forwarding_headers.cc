#include "l7/forwarding_headers.h"

#include <cstring>
#include <optional>

namespace weft::l7 {
namespace {

using http::HeaderId;

// The entry of which `trusted` - 1 others are behind it; the last one is of the nearest proxy.
std::optional<SocketAddress> ClientIn(std::string_view forwarded_for, uint32_t trusted) {
  std::string_view entry;
  for (uint32_t i = 0; i < trusted; ++i) {
    if (forwarded_for.data() == nullptr) return std::nullopt;
    const size_t comma = forwarded_for.rfind(',');
    entry = comma == std::string_view::npos ? forwarded_for : forwarded_for.substr(comma + 1);
    forwarded_for = comma == std::string_view::npos ? std::string_view() : forwarded_for.substr(0, comma);
  }
  while (entry.starts_with(' ')) entry.remove_prefix(1);
  while (entry.ends_with(' ')) entry.remove_suffix(1);
  if (const std::optional<IpAddress> ip = IpAddress::Parse(entry)) return SocketAddress{*ip, 0};
  return SocketAddress::Parse(entry);
}

std::string_view Join(std::string_view head, std::string_view tail, Arena& arena) {
  char* const joined = arena.Take(head.size() + tail.size());
  std::memcpy(joined, head.data(), head.size());
  std::memcpy(joined + head.size(), tail.data(), tail.size());
  return {joined, head.size() + tail.size()};
}

}  // namespace

SocketAddress WriteForwardingHeaders(const Downstream& downstream, const SettingsProgram& settings,
                                     http::RequestHead& request) {
  http::HeaderMap& headers = request.headers;
  Arena& arena = headers.arena();
  const StreamInfo& info = downstream.info;
  SocketAddress client = info.remote;
  if (headers.Find(HeaderId::kXForwardedFor) != nullptr) {
    const std::string_view before = headers.Joined(http::HeaderName(HeaderId::kXForwardedFor));
    if (settings.trusted_proxies > 0) client = ClientIn(before, settings.trusted_proxies).value_or(client);
    headers.Set(HeaderId::kXForwardedFor, Join(Join(before, ",", arena), downstream.remote_ip, arena));
  } else {
    headers.Add(HeaderId::kXForwardedFor, downstream.remote_ip);
  }
  std::string_view proto = headers.Get(HeaderId::kXForwardedProto);
  if (proto != "http" && proto != "https") {
    // A tunnel's TLS is the mesh's: what the client speaks within it is its own affair.
    const bool https = info.tls && info.authority.port == 0;
    proto = https || request.scheme == "https" ? "https" : "http";
    if (headers.Find(HeaderId::kXForwardedProto) != nullptr) headers.Remove(HeaderId::kXForwardedProto);
    headers.AddView({http::HeaderName(HeaderId::kXForwardedProto), proto, HeaderId::kXForwardedProto});
  }
  if (request.scheme.empty()) request.scheme = proto;
  if (headers.Find(HeaderId::kXForwardedClientCert) != nullptr) headers.Remove(HeaderId::kXForwardedClientCert);
  if (settings.xfcc_from_peer && !info.peer_identity.empty()) {
    headers.AddView({http::HeaderName(HeaderId::kXForwardedClientCert), Join("URI=", info.peer_identity, arena),
                     HeaderId::kXForwardedClientCert});
  }
  return client;
}

}  // namespace weft::l7
