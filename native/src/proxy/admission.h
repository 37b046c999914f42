#pragma once

#include <optional>
#include <string>

#include "policy/evaluate.h"
#include "proxy/pod_state.h"

namespace weft {

class Worker;

struct Admission {
  bool allowed = false;
  // The DENY that matched; empty when no ALLOW did; absent when no policy decided.
  std::optional<std::string> policy;
  std::string detail;
};

// Whether `peer` may reach this pod now. Refuses while policies in force are not known. `report` names the connection
// for dry-run events; null: none are emitted (re-evaluation of live connections).
Admission Admit(Worker& worker, const PodState& pod, const PeerInfo& peer, const SocketAddress* report);

}  // namespace weft
