// Compares Evaluate with a reference that was written for reading, over many small random policies. The alphabet is
// small on purpose, so that matches, near misses and conflicts all happen often.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "policy/evaluate.h"
#include "policy/evaluate_reference.h"

namespace weft {
namespace {

using Action = Policy::Action;
using Kind = StringMatch::Kind;

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

    const reference::Decision expected = reference::Decide(pointers, peer);
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
