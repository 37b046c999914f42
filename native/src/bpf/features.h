#pragma once

#include <span>

#include "base/result.h"

namespace weft {

// Something that the kernel has or has not.
struct KernelFeature {
  // How `weft check` names it (cli/src/install/kernel.ts).
  const char* id;
  const char* name;
  // First release that has it, for the error message.
  const char* oldest_kernel;
  bool (*present)();
};

// All that capture needs.
std::span<const KernelFeature> CaptureFeatures();

// What makes more possible, or faster.
std::span<const KernelFeature> OptionalFeatures();

// Names the first feature that is missing, and the oldest kernel that has it.
Status CheckFeatures(std::span<const KernelFeature> features);

// Names the capabilities that this process lacks for loading programs and entering network namespaces.
Status CheckPrivileges();

}  // namespace weft
