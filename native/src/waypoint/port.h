#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>

#include "net/ip_address.h"

namespace weft::l7 {
struct ChainProgram;
struct Program;
}  // namespace weft::l7

namespace weft::waypoint {

// How a port is found in any version of the program: what a CONNECT asked for, or a listener's name.
struct HostPort {
  std::string text;  // "hostname:port", lower case
  auto operator<=>(const HostPort&) const = default;
};
struct ListenerName {
  std::string name;
  auto operator<=>(const ListenerName&) const = default;
};
using PortKey = std::variant<SocketAddress, HostPort, ListenerName>;

// The port that one or more connections of a loop came to. It follows the newest program, so that requests on
// connections that are open see what was applied.
struct Port {
  explicit Port(PortKey from) : key(std::move(from)) {}
  // Looks itself up. False, and the last chain stays, when it is gone.
  bool Follow(const l7::Program& program);

  PortKey key;
  std::string destination;  // the Destination's name, or the Listener's
  IpAddress address;        // of the destination, where the CONNECT had a name
  std::shared_ptr<const l7::ChainProgram> chain;
};

}  // namespace weft::waypoint
