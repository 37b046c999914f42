#include "waypoint/port.h"

#include "l7/program.h"

namespace weft::waypoint {

bool Port::Follow(const l7::Program& program) {
  if (const auto* listener = std::get_if<ListenerName>(&key)) {
    const auto found = program.listeners.find(listener->name);
    if (found == program.listeners.end()) return false;
    destination = found->second->name;
    chain = found->second->chain;
    return true;
  }
  const l7::ChainEntry* entry = nullptr;
  if (const auto* asked = std::get_if<SocketAddress>(&key)) {
    const auto found = program.by_address.find(*asked);
    if (found != program.by_address.end()) entry = &found->second;
  } else {
    const auto found = program.by_host.find(std::get<HostPort>(key).text);
    if (found != program.by_host.end()) entry = &found->second;
  }
  if (entry == nullptr) return false;
  destination = entry->destination->name;
  if (!entry->destination->addresses.empty()) address = entry->destination->addresses.front();
  chain = entry->chain;
  return true;
}

}  // namespace weft::waypoint
