#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "net/ip_address.h"
#include "policy/policy.h"
#include "tls/identity_context.h"
#include "weft_reasons.h"

namespace weft {

// What TypeScript tells the engine; the C++ mirror of agent/src/native.ts.

using PodId = uint64_t;

struct PodConfig {
  PodId id = 0;
  std::string uid;
  std::string netns_path;
  std::vector<IpAddress> addresses;
  std::string identity;
  std::string baggage;
};

struct RouteEndpoint {
  uint64_t key = 0;
  uint32_t weight = 1;
  SocketAddress dial;
  bool tunnel = false;
  std::string authority;
  std::vector<std::string> identities;
  // Which connections may be shared, within one pod: peer address and expected identities. Made by Engine::Apply.
  std::string pool_key;
};

struct Route {
  enum class Kind { kPassthrough, kRefuse, kEndpoints };
  Kind kind = Kind::kPassthrough;
  weft_reason reason = WEFT_R_NONE;
  std::vector<RouteEndpoint> endpoints;
  std::string service_host;
};

struct SetRoute {
  PodId pod;
  SocketAddress destination;
  std::shared_ptr<Route> route;
};
struct RemoveRoute {
  PodId pod;
  SocketAddress destination;
};
struct SetIdentity {
  std::string identity;
  std::string chain;
  std::string key;
  std::string roots;
  // Made of the texts above by Engine::Apply.
  std::shared_ptr<const IdentityContext> context;
};
struct RemoveIdentity {
  std::string identity;
};
struct SetPolicy {
  std::shared_ptr<const NamedPolicy> policy;
};
struct RemovePolicy {
  std::string name;
};
struct SetPodPolicies {
  PodId pod;
  std::vector<std::string> policies;
};
struct SetPodBaggage {
  PodId pod;
  std::string baggage;
};
struct SetPodHosts {
  PodId pod;
  std::unordered_map<std::string, uint16_t> hosts;
};
using Command = std::variant<SetRoute, RemoveRoute, SetIdentity, RemoveIdentity, SetPolicy, RemovePolicy,
                             SetPodPolicies, SetPodBaggage, SetPodHosts>;

}  // namespace weft
