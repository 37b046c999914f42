#pragma once

// Test only: the policy evaluation rules once more, written for reading and not for speed, for Evaluate to be compared
// with. Every list of a match becomes one value of {no condition, some value hit, no value hit}.

#include <algorithm>
#include <bitset>
#include <string>
#include <vector>

#include "policy/evaluate.h"

namespace weft::reference {

enum class Hit { kNoCondition, kYes, kNo };

template <typename T, typename F>
Hit Scan(const std::vector<T>& values, F hit) {
  if (values.size() == 0) return Hit::kNoCondition;
  int hits = 0;
  for (size_t i = 0; i < values.size(); ++i) hits += hit(values[i]) ? 1 : 0;
  return hits > 0 ? Hit::kYes : Hit::kNo;
}

inline bool StringHit(const StringMatch& match, const std::string& text) {
  const std::string& v = match.value;
  if (match.kind == StringMatch::Kind::kPresence) return text.length() > 0;
  if (match.kind == StringMatch::Kind::kExact) return v.compare(text) == 0;
  if (v.length() > text.length()) return false;
  const size_t start = match.kind == StringMatch::Kind::kPrefix ? 0 : text.length() - v.length();
  return text.compare(start, v.length(), v) == 0;
}

// The address as text of bits, of its own family.
inline std::string Bits(const IpAddress& ip) {
  std::string bits;
  for (size_t i = ip.is_v4() ? 12 : 0; i < 16; ++i) bits += std::bitset<8>(ip.bytes()[i]).to_string();
  return bits;
}

inline bool CidrHit(const Cidr& cidr, const IpAddress& ip) {
  const std::string block = Bits(cidr.ip);
  const std::string address = Bits(ip);
  if (block.length() != address.length() || cidr.length > block.length()) return false;
  return block.substr(0, cidr.length) == address.substr(0, cidr.length);
}

inline bool MatchHolds(const PolicyMatch& m, const PeerInfo& peer) {
  const bool known = peer.identity != nullptr;
  const std::string ns = known ? peer.identity->namespace_name : "";
  const auto namespace_hit = [&](const StringMatch& s) { return StringHit(s, ns); };
  const auto principal_hit = [&](const StringMatch& s) { return known && StringHit(s, peer.identity->principal); };
  const auto account_hit = [&](const ServiceAccountMatch& s) {
    return known && s.namespace_name + "/" + s.service_account == ns + "/" + peer.identity->service_account;
  };
  const auto source_hit = [&](const Cidr& c) { return CidrHit(c, peer.source_ip); };
  const auto destination_hit = [&](const Cidr& c) { return CidrHit(c, peer.destination_ip); };
  const auto port_hit = [&](uint16_t p) { return p == peer.destination_port; };
  const std::vector<Hit> wanted = {Scan(m.namespaces, namespace_hit),        Scan(m.principals, principal_hit),
                                   Scan(m.service_accounts, account_hit),    Scan(m.source_ips, source_hit),
                                   Scan(m.destination_ips, destination_hit), Scan(m.destination_ports, port_hit)};
  const std::vector<Hit> unwanted = {
      Scan(m.not_namespaces, namespace_hit),        Scan(m.not_principals, principal_hit),
      Scan(m.not_service_accounts, account_hit),    Scan(m.not_source_ips, source_hit),
      Scan(m.not_destination_ips, destination_hit), Scan(m.not_destination_ports, port_hit)};
  const auto no_condition = static_cast<size_t>(std::count(wanted.begin(), wanted.end(), Hit::kNoCondition) +
                                                std::count(unwanted.begin(), unwanted.end(), Hit::kNoCondition));
  if (no_condition == wanted.size() + unwanted.size()) return false;
  return std::count(wanted.begin(), wanted.end(), Hit::kNo) == 0 &&
         std::count(unwanted.begin(), unwanted.end(), Hit::kYes) == 0;
}

inline bool PolicyHolds(const Policy& policy, const PeerInfo& peer) {
  for (const PolicyRule& rule : policy.rules) {
    bool failed = false;
    for (const PolicyClause& clause : rule.clauses) {
      bool held = clause.matches.empty();
      for (const PolicyMatch& match : clause.matches) held = held || MatchHolds(match, peer);
      failed = failed || !held;
    }
    if (!failed) return true;
  }
  return false;
}

struct Decision {
  bool allowed = false;
  std::string policy;
  std::vector<std::string> dry_runs;
};

inline Decision Decide(const std::vector<const NamedPolicy*>& policies, const PeerInfo& peer) {
  // By action and mode: the names that exist and the names that match, in order.
  std::vector<std::string> exist[2][2];
  std::vector<std::string> match[2][2];
  for (const NamedPolicy* p : policies) {
    const int deny = p->policy.action == Policy::Action::kDeny;
    exist[deny][p->policy.dry_run].push_back(p->name);
    if (PolicyHolds(p->policy, peer)) match[deny][p->policy.dry_run].push_back(p->name);
  }
  Decision result;
  result.dry_runs = match[1][1];
  if (!match[1][0].empty()) {
    result.policy = match[1][0][0];
    return result;
  }
  result.allowed = exist[0][0].empty() || !match[0][0].empty();
  if (!match[0][0].empty()) result.policy = match[0][0][0];
  if (exist[0][0].empty() && match[0][1].empty()) {
    result.dry_runs.insert(result.dry_runs.end(), exist[0][1].begin(), exist[0][1].end());
  }
  return result;
}

}  // namespace weft::reference
