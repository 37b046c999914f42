#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "policy/evaluate.h"
#include "proxy/config.h"

namespace weft {

struct PolicyAnswer {
  bool allowed = false;
  // The DENY that matched, or the one that is not known yet; empty when no ALLOW matched; absent when none decided.
  std::optional<std::string> policy;
  // Dry-run policies that would have denied.
  std::vector<std::string> dry_run;
};

// Policies as the loops have them or are about to, for questions that are answered without asking a loop. One thread.
class PolicyTable {
 public:
  // Commands that are not about policies change nothing.
  void Apply(const Command& command);
  void RemovePod(PodId pod) { pods_.erase(pod); }
  // The same answer as Admit gives on a loop.
  PolicyAnswer Evaluate(PodId pod, const PeerInfo& peer) const;

 private:
  std::unordered_map<std::string, std::shared_ptr<const NamedPolicy>> policies_;
  std::unordered_map<PodId, std::vector<std::string>> pods_;
};

}  // namespace weft
