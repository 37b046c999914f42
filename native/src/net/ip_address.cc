#include "net/ip_address.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstring>

namespace weft {
namespace {

constexpr std::array<uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

}  // namespace

std::optional<IpAddress> IpAddress::Parse(std::string_view text) {
  // inet_pton reads up to a NUL: "10.0.0.1\0.evil" must not be an address.
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  const std::string copy(text);
  in_addr v4{};
  if (inet_pton(AF_INET, copy.c_str(), &v4) == 1) return FromV4(v4);
  in6_addr v6{};
  if (inet_pton(AF_INET6, copy.c_str(), &v6) == 1) return FromV6(v6);
  return std::nullopt;
}

IpAddress IpAddress::FromV4(const in_addr& addr) {
  IpAddress ip;
  std::memcpy(ip.bytes_.data(), kMappedPrefix.data(), kMappedPrefix.size());
  std::memcpy(ip.bytes_.data() + kMappedPrefix.size(), &addr, sizeof(addr));
  return ip;
}

IpAddress IpAddress::FromV6(const in6_addr& addr) {
  IpAddress ip;
  std::memcpy(ip.bytes_.data(), &addr, sizeof(addr));
  return ip;
}

bool IpAddress::is_v4() const { return std::memcmp(bytes_.data(), kMappedPrefix.data(), kMappedPrefix.size()) == 0; }

bool IpAddress::is_loopback() const {
  if (is_v4()) return bytes_[12] == 127;
  in6_addr v6{};
  std::memcpy(&v6, bytes_.data(), sizeof(v6));
  return IN6_IS_ADDR_LOOPBACK(&v6);
}

std::string IpAddress::ToString() const {
  char text[INET6_ADDRSTRLEN] = {};
  if (is_v4()) {
    inet_ntop(AF_INET, bytes_.data() + kMappedPrefix.size(), text, sizeof(text));
  } else {
    inet_ntop(AF_INET6, bytes_.data(), text, sizeof(text));
  }
  return text;
}

SocketAddress SocketAddress::FromSockaddr(const sockaddr_storage& storage) {
  if (storage.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &storage, sizeof(v4));
    return {IpAddress::FromV4(v4.sin_addr), ntohs(v4.sin_port)};
  }
  sockaddr_in6 v6{};
  std::memcpy(&v6, &storage, sizeof(v6));
  return {IpAddress::FromV6(v6.sin6_addr), ntohs(v6.sin6_port)};
}

socklen_t SocketAddress::ToSockaddr(sockaddr_storage* out) const {
  std::memset(out, 0, sizeof(*out));
  if (ip.is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, ip.bytes().data() + kMappedPrefix.size(), sizeof(v4.sin_addr));
    std::memcpy(out, &v4, sizeof(v4));
    return sizeof(v4);
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  std::memcpy(&v6.sin6_addr, ip.bytes().data(), sizeof(v6.sin6_addr));
  std::memcpy(out, &v6, sizeof(v6));
  return sizeof(v6);
}

std::optional<SocketAddress> SocketAddress::Parse(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon + 1 == text.size()) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  // "::1:80" is ambiguous, so IPv6 needs brackets and IPv4 must not have them.
  if (bracketed != (host.find(':') != std::string_view::npos)) return std::nullopt;
  const auto ip = IpAddress::Parse(host);
  if (!ip) return std::nullopt;
  return SocketAddress{*ip, port};
}

std::string SocketAddress::ToString() const {
  const std::string digits = std::to_string(port);
  return ip.is_v4() ? ip.ToString() + ":" + digits : "[" + ip.ToString() + "]:" + digits;
}

}  // namespace weft

namespace {

size_t HashBytes(const std::array<uint8_t, 16>& bytes) {
  uint64_t high = 0;
  uint64_t low = 0;
  std::memcpy(&high, bytes.data(), 8);
  std::memcpy(&low, bytes.data() + 8, 8);
  // Two rounds of a 64-bit finalizer: pod addresses differ only in their last bytes.
  uint64_t h = (high ^ 0x9e3779b97f4a7c15ULL) * 0xff51afd7ed558ccdULL;
  h = (h ^ (h >> 32) ^ low) * 0xc4ceb9fe1a85ec53ULL;
  return static_cast<size_t>(h ^ (h >> 29));
}

}  // namespace

size_t std::hash<weft::IpAddress>::operator()(const weft::IpAddress& ip) const noexcept {
  return HashBytes(ip.bytes());
}

size_t std::hash<weft::SocketAddress>::operator()(const weft::SocketAddress& address) const noexcept {
  return HashBytes(address.ip.bytes()) * 31 + address.port;
}
