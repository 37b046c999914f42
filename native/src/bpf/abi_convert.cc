#include "bpf/abi_convert.h"

#include <cstring>

namespace weft {

weft_ip ToAbi(const IpAddress& ip) {
  weft_ip abi{};
  std::memcpy(&abi, ip.bytes().data(), sizeof(abi));
  return abi;
}

IpAddress FromAbi(const weft_ip& ip) {
  in6_addr v6{};
  std::memcpy(&v6, &ip, sizeof(v6));
  return IpAddress::FromV6(v6);
}

weft_address ToAbi(const SocketAddress& address) {
  weft_address abi{};
  abi.ip = ToAbi(address.ip);
  abi.port = address.port;
  return abi;
}

SocketAddress FromAbi(const weft_address& address) { return {FromAbi(address.ip), address.port}; }

}  // namespace weft
