#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace weft::waypoint {

// What the begin of a TLS connection says without being decrypted.
struct ClientHello {
  enum class Outcome : uint8_t {
    kMore,  // not all of it is here
    kNone,  // no ClientHello, or one that is broken or too long
    kDone,
  };
  Outcome outcome = Outcome::kMore;
  std::string sni;  // lower case; empty: none, or no name that a route could have
};

// A ClientHello of all extensions in use, post-quantum key shares too, is below 2 KiB; the protocol allows 16 MiB.
inline constexpr size_t kMaxClientHello = 16 * 1024;

ClientHello ParseClientHello(std::span<const uint8_t> bytes);

}  // namespace weft::waypoint
