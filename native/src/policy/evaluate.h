#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "net/ip_address.h"
#include "policy/policy.h"
#include "policy/spiffe_id.h"

namespace weft {

// What a policy may ask about one inbound connection.
struct PeerInfo {
  // Verified identity of the peer; null on plaintext. Borrowed.
  const SpiffeId* identity = nullptr;
  // TCP peer as this agent sees it.
  IpAddress source_ip;
  // The workload's own address and the port that is dialled (never 15008, never a service port).
  IpAddress destination_ip;
  uint16_t destination_port = 0;
};

struct Verdict {
  bool allowed = false;
  // The policy that decided, a view into its NamedPolicy: the DENY that matched or the ALLOW that matched. Empty when
  // no ALLOW exists (allowed) or none matched (denied).
  std::string_view policy;
};

// True when `policy` has a rule that holds for `peer`; action and dry run are the caller's business.
bool Matches(const Policy& policy, const PeerInfo& peer);

// Decides over all policies in force for a workload, in the order of ambient's L4 authorization: a DENY that matches
// denies; without an ALLOW everything else is allowed; an ALLOW that matches allows; the rest is denied. Dry-run
// policies never change the verdict. Does not allocate, except to note dry runs.
//
// `dry_run`, when given, gets each dry-run policy that would have denied: a DENY that matched, or, where no ALLOW is
// enforced, every dry-run ALLOW when none of them matched.
Verdict Evaluate(std::span<const NamedPolicy* const> policies, const PeerInfo& peer,
                 std::vector<const NamedPolicy*>* dry_run = nullptr);

}  // namespace weft
