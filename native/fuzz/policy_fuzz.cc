// Policies made of fuzzer bytes against the readable reference.
#include "fuzz/byte_source.h"
#include "fuzz/fuzz_target.h"
#include "policy/evaluate.h"
#include "policy/evaluate_reference.h"

namespace {

using weft::fuzz::ByteSource;

class PolicyBuilder {
 public:
  explicit PolicyBuilder(ByteSource* source) : source_(source) {}

  weft::NamedPolicy Policy() {
    using Action = weft::Policy::Action;
    const auto match = [&] { return Match(); };
    const auto clause = [&] { return weft::PolicyClause{source_->ListOf(2, match)}; };
    const auto rule = [&] { return weft::PolicyRule{source_->ListOf(2, clause)}; };
    const std::string name(1, static_cast<char>('a' + source_->Below(26)));
    const Action action = source_->Bool() ? Action::kAllow : Action::kDeny;
    const bool dry_run = source_->Bool();
    return {name, {action, dry_run, source_->ListOf(3, rule)}};
  }

  // Short texts from the alphabet of identities, so that prefixes and suffixes meet.
  std::string Text() {
    static constexpr std::string_view kAlphabet = "ab/nsatd";
    std::string text;
    for (unsigned n = source_->Below(20); n > 0; --n) text += kAlphabet[source_->Below(kAlphabet.size())];
    return text;
  }
  weft::IpAddress Ip() {
    if (source_->Bool()) return weft::IpAddress::FromV4({.s_addr = Word()});
    in6_addr v6{};
    for (uint8_t& byte : v6.s6_addr) byte = source_->Byte();
    return weft::IpAddress::FromV6(v6);
  }
  uint16_t Port() { return static_cast<uint16_t>(source_->Byte() << 8 | source_->Byte()); }

 private:
  uint32_t Word() {
    uint32_t word = 0;
    for (int i = 0; i < 4; ++i) word = word << 8 | source_->Byte();
    return word;
  }
  weft::PolicyMatch Match() {
    const auto text = [&] {
      const auto kind = static_cast<weft::StringMatch::Kind>(source_->Below(4));
      return weft::StringMatch{kind, Text()};
    };
    const auto block = [&] {
      const weft::IpAddress ip = Ip();
      return weft::Cidr{ip, source_->Byte()};
    };
    const auto port = [&] { return Port(); };
    const auto account = [&] {
      const std::string namespace_name = Text();
      return weft::ServiceAccountMatch{namespace_name, Text()};
    };
    weft::PolicyMatch match;
    for (auto* list : {&match.namespaces, &match.not_namespaces, &match.principals, &match.not_principals}) {
      *list = source_->ListOf(2, text);
    }
    for (auto* list : {&match.source_ips, &match.not_source_ips, &match.destination_ips, &match.not_destination_ips}) {
      *list = source_->ListOf(2, block);
    }
    for (auto* list : {&match.destination_ports, &match.not_destination_ports}) *list = source_->ListOf(2, port);
    for (auto* list : {&match.service_accounts, &match.not_service_accounts}) *list = source_->ListOf(2, account);
    return match;
  }

  ByteSource* source_;
};

}  // namespace

WEFT_FUZZ_TARGET("policy") {
  ByteSource source(input);
  PolicyBuilder build(&source);
  const weft::SpiffeId id{"td", build.Text(), build.Text(), build.Text()};
  weft::PeerInfo peer;
  peer.identity = source.Bool() ? &id : nullptr;
  peer.source_ip = build.Ip();
  peer.destination_ip = build.Ip();
  peer.destination_port = build.Port();
  const auto policies = source.ListOf(4, [&] { return build.Policy(); });
  std::vector<const weft::NamedPolicy*> pointers;
  for (const auto& policy : policies) pointers.push_back(&policy);

  std::vector<const weft::NamedPolicy*> dry_runs;
  const weft::Verdict verdict = weft::Evaluate(pointers, peer, &dry_runs);
  const auto expected = weft::reference::Decide(pointers, peer);
  FUZZ_CHECK(verdict.allowed == expected.allowed);
  FUZZ_CHECK(verdict.policy == expected.policy);
  FUZZ_CHECK(dry_runs.size() == expected.dry_runs.size());
}
