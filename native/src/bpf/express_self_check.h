#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "bpf/express_checks.h"

namespace weft {

// Does this kernel keep to what express connections promise? On scratch sockets in a network namespace that goes with
// the test, made by this process; the programs are attached to its cgroup, for that namespace only. Well below a
// second.
class ExpressSelfCheck {
 public:
  struct Outcome {
    const ExpressCheck* check;
    Status status;
  };

  // `cgroup`: of this process, or above it. `guards_off`: only for the tests of the checks.
  static Result<std::vector<Outcome>> Run(const std::string& cgroup, uint32_t guards_off = 0);
  // Why express is not offered here; empty: it is.
  static std::string WhyOff(const std::string& cgroup);
};

}  // namespace weft
