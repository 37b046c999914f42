#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weft {

// One IP address; IPv4 is kept v4-mapped in 16 bytes, so both families compare, hash and match through one path.
class IpAddress {
 public:
  IpAddress() = default;
  static std::optional<IpAddress> Parse(std::string_view text);
  static IpAddress FromV4(const in_addr& addr);
  static IpAddress FromV6(const in6_addr& addr);

  bool is_v4() const;
  bool is_loopback() const;
  const std::array<uint8_t, 16>& bytes() const { return bytes_; }
  // Canonical text, never the v4-mapped form.
  std::string ToString() const;
  auto operator<=>(const IpAddress&) const = default;

 private:
  std::array<uint8_t, 16> bytes_{};
};

// An IP address with a port in host order.
struct SocketAddress {
  IpAddress ip;
  uint16_t port = 0;

  static SocketAddress FromSockaddr(const sockaddr_storage& storage);
  // Fills `out` with AF_INET or AF_INET6 (never v4-mapped) and returns its length.
  socklen_t ToSockaddr(sockaddr_storage* out) const;
  // "1.2.3.4:80" or "[::1]:80"; the inverse of ToString.
  static std::optional<SocketAddress> Parse(std::string_view text);
  std::string ToString() const;
  auto operator<=>(const SocketAddress&) const = default;
};

}  // namespace weft

template <>
struct std::hash<weft::IpAddress> {
  size_t operator()(const weft::IpAddress& ip) const noexcept;
};
template <>
struct std::hash<weft::SocketAddress> {
  size_t operator()(const weft::SocketAddress& address) const noexcept;
};
