// Compares Evaluate with a reference that was written for reading, over many small random policies. The alphabet is
// small on purpose, so that matches, near misses and conflicts all happen often.
#include <gtest/gtest.h>

#include <algorithm>
#include <bitset>
#include <random>
#include <string>
#include <vector>

#include "policy/evaluate.h"

namespace weft {
namespace {

using Action = Policy::Action;
using Kind = StringMatch::Kind;

// ---- the reference: every list becomes one truth value of {no condition, some value hit, no value hit} -------------

enum class Hit { kNoCondition, kYes, kNo };

template <typename T, typename F>
Hit Scan(const std::vector<T>& values, F hit) {
  if (values.size() == 0) return Hit::kNoCondition;
  int hits = 0;
  for (size_t i = 0; i < values.size(); ++i) hits += hit(values[i]) ? 1 : 0;
  return hits > 0 ? Hit::kYes : Hit::kNo;
}

bool StringHit(const StringMatch& match, const std::string& text) {
  const std::string& v = match.value;
  if (match.kind == Kind::kPresence) return text.length() > 0;
  if (match.kind == Kind::kExact) return v.compare(text) == 0;
  if (v.length() > text.length()) return false;
  const size_t start = match.kind == Kind::kPrefix ? 0 : text.length() - v.length();
  return text.compare(start, v.length(), v) == 0;
}

// The address as text of bits, of its own family.
std::string Bits(const IpAddress& ip) {
  std::string bits;
  for (size_t i = ip.is_v4() ? 12 : 0; i < 16; ++i) bits += std::bitset<8>(ip.bytes()[i]).to_string();
  return bits;
}

bool CidrHit(const Cidr& cidr, const IpAddress& ip) {
  const std::string block = Bits(cidr.ip);
  const std::string address = Bits(ip);
  if (block.length() != address.length() || cidr.length > block.length()) return false;
  return block.substr(0, cidr.length) == address.substr(0, cidr.length);
}

bool ReferenceMatch(const PolicyMatch& m, const PeerInfo& peer) {
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

bool ReferenceMatches(const Policy& policy, const PeerInfo& peer) {
  for (const PolicyRule& rule : policy.rules) {
    bool failed = false;
    for (const PolicyClause& clause : rule.clauses) {
      bool held = clause.matches.empty();
      for (const PolicyMatch& match : clause.matches) held = held || ReferenceMatch(match, peer);
      failed = failed || !held;
    }
    if (!failed) return true;
  }
  return false;
}

struct Reference {
  bool allowed = false;
  std::string policy;
  std::vector<std::string> dry_runs;
};

Reference Decide(const std::vector<const NamedPolicy*>& policies, const PeerInfo& peer) {
  // By action and mode: the names that exist and the names that match, in order.
  std::vector<std::string> exist[2][2];
  std::vector<std::string> match[2][2];
  for (const NamedPolicy* p : policies) {
    const int deny = p->policy.action == Action::kDeny;
    exist[deny][p->policy.dry_run].push_back(p->name);
    if (ReferenceMatches(p->policy, peer)) match[deny][p->policy.dry_run].push_back(p->name);
  }
  Reference result;
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

// ---- the generator ---------------------------------------------------------------------------------------------

class Generator {
 public:
  explicit Generator(uint32_t seed) : random_(seed) {}

  int Below(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }

  template <typename F>
  auto ListOf(int max, F make) {
    std::vector<decltype(make())> list;
    for (int n = Below(max + 1); n > 0; --n) list.push_back(make());
    return list;
  }
  // Most fields of a match are empty in life and must be here, or nothing ever matches.
  template <typename F>
  auto Sparse(F make) {
    return Below(4) == 0 ? ListOf(2, make) : std::vector<decltype(make())>{};
  }

  IpAddress Ip() {
    static const std::vector<std::string> kTexts = {"10.0.0.1", "10.0.0.2", "10.0.128.1",  "192.0.2.1",
                                                    "fd00::1",  "fd00::2",  "fd00:8000::", "::1"};
    return IpAddress::Parse(kTexts[static_cast<size_t>(Below(static_cast<int>(kTexts.size())))]).value();
  }
  Cidr Block() {
    static const std::vector<uint8_t> kLengths = {0, 1, 7, 8, 9, 17, 24, 31, 32, 33, 64, 127, 128, 129, 255};
    return {Ip(), kLengths[static_cast<size_t>(Below(static_cast<int>(kLengths.size())))]};
  }
  std::string Name() { return std::string(1, static_cast<char>('a' + Below(2))); }
  uint16_t Port() { return static_cast<uint16_t>(80 + Below(3)); }
  StringMatch NamespaceMatch() { return {AnyKind(), Below(4) == 0 ? "" : Name()}; }
  StringMatch PrincipalMatch() {
    const std::string id = "td/ns/" + Name() + "/sa/" + Name();
    const size_t cut = static_cast<size_t>(Below(static_cast<int>(id.size()) + 1));
    const Kind kind = AnyKind();
    return {kind, kind == Kind::kPrefix ? id.substr(0, cut) : kind == Kind::kSuffix ? id.substr(cut) : id};
  }
  PolicyMatch Match() {
    const auto ns = [&] { return NamespaceMatch(); };
    const auto principal = [&] { return PrincipalMatch(); };
    const auto block = [&] { return Block(); };
    const auto port = [&] { return Port(); };
    const auto account = [&] { return ServiceAccountMatch{Name(), Name()}; };
    return {Sparse(ns),    Sparse(ns),    Sparse(principal), Sparse(principal), Sparse(block),   Sparse(block),
            Sparse(block), Sparse(block), Sparse(port),      Sparse(port),      Sparse(account), Sparse(account)};
  }
  NamedPolicy AnyPolicy(int number) {
    const auto clause = [&] { return PolicyClause{ListOf(2, [&] { return Match(); })}; };
    const auto rule = [&] { return PolicyRule{ListOf(2, clause)}; };
    return {"ns/p" + std::to_string(number),
            {Below(2) ? Action::kAllow : Action::kDeny, Below(3) == 0, ListOf(2, rule)}};
  }
  SpiffeId Id() { return SpiffeId::Parse("spiffe://td/ns/" + Name() + "/sa/" + Name()).value(); }

 private:
  Kind AnyKind() { return static_cast<Kind>(Below(4)); }
  std::mt19937 random_;
};

TEST(EvaluatePropertyTest, AgreesWithTheReference) {
  constexpr int kCases = 100'000;
  Generator generate(20'260'101);
  int allowed = 0;
  int by_policy = 0;
  int with_dry_run = 0;
  for (int i = 0; i < kCases; ++i) {
    std::vector<NamedPolicy> policies;
    for (int n = generate.Below(4); n > 0; --n) policies.push_back(generate.AnyPolicy(n));
    std::vector<const NamedPolicy*> pointers;
    for (const NamedPolicy& p : policies) pointers.push_back(&p);
    const SpiffeId id = generate.Id();
    const PeerInfo peer{generate.Below(3) ? &id : nullptr, generate.Ip(), generate.Ip(), generate.Port()};

    std::vector<const NamedPolicy*> dry_runs;
    const Verdict verdict = Evaluate(pointers, peer, &dry_runs);
    std::vector<std::string> dry_run_names;
    for (const NamedPolicy* p : dry_runs) dry_run_names.push_back(p->name);

    const Reference expected = Decide(pointers, peer);
    ASSERT_EQ(verdict.allowed, expected.allowed) << "case " << i;
    ASSERT_EQ(verdict.policy, expected.policy) << "case " << i;
    ASSERT_EQ(dry_run_names, expected.dry_runs) << "case " << i;
    ASSERT_EQ(Evaluate(pointers, peer).allowed, verdict.allowed) << "dry-run noting changed the verdict, case " << i;
    allowed += verdict.allowed;
    by_policy += !verdict.policy.empty();
    with_dry_run += !dry_runs.empty();
  }
  // The generator still makes interesting cases.
  EXPECT_GT(allowed, kCases / 5);
  EXPECT_LT(allowed, kCases * 4 / 5);
  EXPECT_GT(by_policy, kCases / 5);
  EXPECT_GT(with_dry_run, kCases / 10);
}

}  // namespace
}  // namespace weft
