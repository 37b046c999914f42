#pragma once

#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "l7/downstream.h"
#include "net/ip_address.h"

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
class Port {
 public:
  // Null: the program has none.
  static std::shared_ptr<Port> Find(const l7::Program& program, const PortKey& key);
  // Takes its chain of this program. False, and the last chain stays, when it is gone.
  bool Follow(const l7::Program& program);

  l7::ChainHandle& handle() { return handle_; }
  const l7::ChainProgram& chain() const { return *handle_.chain(); }
  const std::string& destination() const { return handle_.destination(); }
  // Of the destination, for a CONNECT that had a name.
  const IpAddress& address() const { return address_; }

 private:
  Port(PortKey key, const std::string& destination) : key_(std::move(key)), handle_(destination) {}

  PortKey key_;
  IpAddress address_;
  l7::ChainHandle handle_;
};

}  // namespace weft::waypoint
