// `ip:port` text: what parses prints canonically, and the canonical text means the same address.
#include "fuzz/byte_source.h"
#include "fuzz/fuzz_target.h"
#include "net/ip_address.h"

WEFT_FUZZ_TARGET("socket-address") {
  const std::string_view text = weft::fuzz::AsText(input);
  const auto address = weft::SocketAddress::Parse(text);
  if (!address) return;
  FUZZ_CHECK(text.find('%') == std::string_view::npos);  // zone ids name another host's interface
  FUZZ_CHECK(text.find('\0') == std::string_view::npos);
  FUZZ_CHECK(weft::SocketAddress::Parse(address->ToString()) == address);
  sockaddr_storage storage;
  address->ToSockaddr(&storage);
  FUZZ_CHECK(weft::SocketAddress::FromSockaddr(storage) == *address);
}
