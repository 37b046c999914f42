#include "waypoint/port.h"

namespace weft::waypoint {
namespace {

struct Found {
  const std::string* destination = nullptr;  // null: nothing
  std::shared_ptr<const l7::ChainProgram> chain;
  IpAddress address;
};

Found Look(const l7::Program& program, const PortKey& key) {
  if (const auto* listener = std::get_if<ListenerName>(&key)) {
    const auto at = program.listeners.find(listener->name);
    if (at == program.listeners.end()) return {};
    return {&at->second->name, at->second->chain, {}};
  }
  const l7::ChainEntry* entry = nullptr;
  if (const auto* asked = std::get_if<SocketAddress>(&key)) {
    const auto at = program.by_address.find(*asked);
    if (at != program.by_address.end()) entry = &at->second;
  } else {
    const auto at = program.by_host.find(std::get<HostPort>(key).text);
    if (at != program.by_host.end()) entry = &at->second;
  }
  if (entry == nullptr) return {};
  const auto& addresses = entry->destination->addresses;
  return {&entry->destination->name, entry->chain, addresses.empty() ? IpAddress() : addresses.front()};
}

}  // namespace

std::shared_ptr<Port> Port::Find(const l7::Program& program, const PortKey& key) {
  const Found found = Look(program, key);
  if (found.destination == nullptr) return nullptr;
  std::shared_ptr<Port> port(new Port(key, *found.destination));
  port->Follow(program);
  return port;
}

bool Port::Follow(const l7::Program& program) {
  const Found found = Look(program, key_);
  // An address that is another destination's now is another port.
  if (found.destination == nullptr || *found.destination != destination()) return false;
  address_ = found.address;
  if (found.chain != handle_.chain()) handle_.Set(found.chain);
  return true;
}

}  // namespace weft::waypoint
