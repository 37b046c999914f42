#include "policy/evaluate.h"

#include <algorithm>
#include <cstring>

namespace weft {
namespace {

constexpr unsigned kMappedPrefixBits = 96;

bool Holds(const StringMatch& match, std::string_view text) {
  switch (match.kind) {
    case StringMatch::Kind::kExact:
      return text == match.value;
    case StringMatch::Kind::kPrefix:
      return text.starts_with(match.value);
    case StringMatch::Kind::kSuffix:
      return text.ends_with(match.value);
    case StringMatch::Kind::kPresence:
      return !text.empty();
  }
  return false;
}

bool Contains(const Cidr& cidr, const IpAddress& ip) {
  // ::/0 holds every IPv6 address and no IPv4 address, although both are kept in 16 bytes.
  const bool v4 = ip.is_v4();
  if (cidr.ip.is_v4() != v4) return false;
  const unsigned bits = cidr.length + (v4 ? kMappedPrefixBits : 0);
  if (bits > 128) return false;
  const uint8_t* left = cidr.ip.bytes().data();
  const uint8_t* right = ip.bytes().data();
  const unsigned whole = bits / 8;
  if (std::memcmp(left, right, whole) != 0) return false;
  const unsigned partial = bits % 8;
  return partial == 0 || ((left[whole] ^ right[whole]) >> (8 - partial)) == 0;
}

// One kind of field with its negation.
template <typename T, typename Predicate>
bool FieldHolds(const std::vector<T>& any_of, const std::vector<T>& none_of, const Predicate& predicate) {
  return (any_of.empty() || std::ranges::any_of(any_of, predicate)) && std::ranges::none_of(none_of, predicate);
}

// Such a match is skipped: it must not turn its clause true.
bool IsEmpty(const PolicyMatch& m) {
  return m.namespaces.empty() && m.not_namespaces.empty() && m.principals.empty() && m.not_principals.empty() &&
         m.source_ips.empty() && m.not_source_ips.empty() && m.destination_ips.empty() &&
         m.not_destination_ips.empty() && m.destination_ports.empty() && m.not_destination_ports.empty() &&
         m.service_accounts.empty() && m.not_service_accounts.empty();
}

bool IdentityHolds(const PolicyMatch& m, const SpiffeId* identity) {
  // Without identity the namespace is the empty string, but no principal and no service account ever matches.
  const std::string_view namespace_name = identity ? std::string_view(identity->namespace_name) : std::string_view();
  return FieldHolds(m.namespaces, m.not_namespaces, [&](const StringMatch& s) { return Holds(s, namespace_name); }) &&
         FieldHolds(m.principals, m.not_principals,
                    [&](const StringMatch& s) { return identity && Holds(s, identity->principal); }) &&
         FieldHolds(m.service_accounts, m.not_service_accounts, [&](const ServiceAccountMatch& s) {
           return identity && s.namespace_name == identity->namespace_name &&
                  s.service_account == identity->service_account;
         });
}

bool Holds(const PolicyMatch& m, const PeerInfo& peer) {
  if (IsEmpty(m)) return false;
  return FieldHolds(m.destination_ports, m.not_destination_ports,
                    [&](uint16_t port) { return port == peer.destination_port; }) &&
         FieldHolds(m.source_ips, m.not_source_ips, [&](const Cidr& c) { return Contains(c, peer.source_ip); }) &&
         FieldHolds(m.destination_ips, m.not_destination_ips,
                    [&](const Cidr& c) { return Contains(c, peer.destination_ip); }) &&
         IdentityHolds(m, peer.identity);
}

bool Holds(const PolicyClause& clause, const PeerInfo& peer) {
  return clause.matches.empty() ||
         std::ranges::any_of(clause.matches, [&](const PolicyMatch& m) { return Holds(m, peer); });
}

bool Is(const NamedPolicy* p, Policy::Action action, bool dry_run) {
  return p->policy.action == action && p->policy.dry_run == dry_run;
}

}  // namespace

bool Matches(const Policy& policy, const PeerInfo& peer) {
  return std::ranges::any_of(policy.rules, [&](const PolicyRule& rule) {
    return std::ranges::all_of(rule.clauses, [&](const PolicyClause& clause) { return Holds(clause, peer); });
  });
}

Verdict Evaluate(std::span<const NamedPolicy* const> policies, const PeerInfo& peer,
                 std::vector<const NamedPolicy*>* dry_run) {
  using Action = Policy::Action;
  const auto first_match = [&](Action action, bool is_dry_run) -> const NamedPolicy* {
    const auto found = std::ranges::find_if(
        policies, [&](const NamedPolicy* p) { return Is(p, action, is_dry_run) && Matches(p->policy, peer); });
    return found == policies.end() ? nullptr : *found;
  };
  const auto note = [&](Action action, bool must_match) {
    for (const NamedPolicy* p : policies) {
      if (Is(p, action, true) && (!must_match || Matches(p->policy, peer))) dry_run->push_back(p);
    }
  };

  if (dry_run) note(Action::kDeny, true);
  if (const NamedPolicy* deny = first_match(Action::kDeny, false)) return {false, deny->name};
  const bool enforced =
      std::ranges::any_of(policies, [](const NamedPolicy* p) { return Is(p, Action::kAllow, false); });
  if (!enforced) {
    if (dry_run && !first_match(Action::kAllow, true)) note(Action::kAllow, false);
    return {true, {}};
  }
  if (const NamedPolicy* allow = first_match(Action::kAllow, false)) return {true, allow->name};
  return {false, {}};
}

}  // namespace weft
