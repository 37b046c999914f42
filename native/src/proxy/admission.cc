#include "proxy/admission.h"

#include <vector>

#include "proxy/worker.h"

namespace weft {

Admission Admit(Worker& worker, const PodState& pod, const PeerInfo& peer, const SocketAddress* report) {
  if (!pod.policy_names) return {false, std::nullopt, "policies of the pod are not known yet"};
  if (!pod.unknown_policy.empty()) {
    return {false, pod.unknown_policy, "policy " + pod.unknown_policy + " is not known yet"};
  }
  if (pod.policies.empty()) return {true, std::nullopt, {}};
  std::vector<const NamedPolicy*> dry_run;
  const Verdict verdict = Evaluate(pod.policies, peer, report != nullptr ? &dry_run : nullptr);
  for (const NamedPolicy* policy : dry_run) {
    worker.Emit(DryRun{pod.config().id, policy->name, *report, peer.identity != nullptr ? peer.identity->ToUri() : ""});
  }
  if (verdict.allowed) return {true, std::nullopt, {}};
  const std::string name(verdict.policy);
  return {false, name, name.empty() ? "no ALLOW policy matched" : "denied by " + name};
}

}  // namespace weft
