#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "bpf/express_trial.h"

namespace weft {

// One thing that express connections must keep to.
struct ExpressCheck {
  // In words, as the end of "express is off, because ...".
  const char* broken;
  // The WEFT_GUARD_* that keeps it; 0: the kernel does by itself.
  uint32_t guard;
  // On scratch sockets of this thread's network namespace.
  Status (*run)(const ExpressTrial& trial);
};

std::span<const ExpressCheck> ExpressChecks();

}  // namespace weft
