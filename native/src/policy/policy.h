#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "net/ip_address.h"

namespace weft {

// L4 authorization policies as the engine holds them: a mirror of `Policy` in agent/src/native.ts, made once per
// `set-policy` and never changed afterwards.

struct StringMatch {
  enum class Kind { kExact, kPrefix, kSuffix, kPresence };
  Kind kind = Kind::kExact;
  std::string value;  // unused by kPresence
};

// `length` counts bits in the address's own family. The binding refuses lengths that the family does not have; here
// such a block contains nothing.
struct Cidr {
  IpAddress ip;
  uint8_t length = 0;
};

struct ServiceAccountMatch {
  std::string namespace_name;
  std::string service_account;
};

// Kinds are AND'ed, values of a kind OR'ed, `not_*` means that none may match. An empty list is no condition.
struct PolicyMatch {
  std::vector<StringMatch> namespaces;
  std::vector<StringMatch> not_namespaces;
  std::vector<StringMatch> principals;
  std::vector<StringMatch> not_principals;
  std::vector<Cidr> source_ips;
  std::vector<Cidr> not_source_ips;
  std::vector<Cidr> destination_ips;
  std::vector<Cidr> not_destination_ips;
  std::vector<uint16_t> destination_ports;
  std::vector<uint16_t> not_destination_ports;
  std::vector<ServiceAccountMatch> service_accounts;
  std::vector<ServiceAccountMatch> not_service_accounts;
};

struct PolicyClause {
  std::vector<PolicyMatch> matches;  // OR'ed
};

struct PolicyRule {
  std::vector<PolicyClause> clauses;  // AND'ed
};

struct Policy {
  enum class Action { kAllow, kDeny };
  Action action = Action::kAllow;
  bool dry_run = false;
  std::vector<PolicyRule> rules;  // OR'ed
};

struct NamedPolicy {
  std::string name;  // namespace/name of the Authorization
  Policy policy;
};

}  // namespace weft
