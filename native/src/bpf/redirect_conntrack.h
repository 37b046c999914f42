#pragma once

#include <span>

#include "weft_abi.h"

namespace weft {

// Makes the host's connection tracking forget these connections, in the calling thread's namespace. It has seen no more
// of a redirected connection than SYN and SYN-ACK: what comes by the ordinary way later on is INVALID to it, and
// dropped by rules that many CNIs and kube-proxy have, until the entry expires after a minute. Having forgotten, it
// takes the next packet for a new connection and asks the rules. Nothing happens on a host that does not track
// connections.
void ForgetConnections(std::span<const weft_flow_key> connections);

}  // namespace weft
