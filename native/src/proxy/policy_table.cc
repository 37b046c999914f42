#include "proxy/policy_table.h"

namespace weft {

void PolicyTable::Apply(const Command& command) {
  if (const auto* set = std::get_if<SetPolicy>(&command)) {
    policies_[set->policy->name] = set->policy;
  } else if (const auto* removed = std::get_if<RemovePolicy>(&command)) {
    policies_.erase(removed->name);
  } else if (const auto* names = std::get_if<SetPodPolicies>(&command)) {
    pods_[names->pod] = names->policies;
  }
}

PolicyAnswer PolicyTable::Evaluate(PodId pod, const PeerInfo& peer) const {
  const auto names = pods_.find(pod);
  if (names == pods_.end()) return {};
  std::vector<const NamedPolicy*> in_force;
  in_force.reserve(names->second.size());
  for (const std::string& name : names->second) {
    const auto found = policies_.find(name);
    if (found == policies_.end()) return {false, name, {}};
    in_force.push_back(found->second.get());
  }
  std::vector<const NamedPolicy*> dry_run;
  const Verdict verdict = weft::Evaluate(in_force, peer, &dry_run);
  PolicyAnswer answer;
  answer.allowed = verdict.allowed;
  if (!verdict.allowed) answer.policy = std::string(verdict.policy);
  for (const NamedPolicy* policy : dry_run) answer.dry_run.push_back(policy->name);
  return answer;
}

}  // namespace weft
