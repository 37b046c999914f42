#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "bpf/cgroup.h"
#include "bpf/pinned_map.h"
#include "bpf/program_object.h"
#include "weft_abi.h"

namespace weft {

struct PinPaths;

// What may be said of a pod by its cgroup folder, before its network namespace is captured.
enum class Membership : uint8_t {
  kOutside,
  // Of the mesh. What is not captured of it is refused.
  kInside,
  // Of the mesh, and about to be captured: connections wait. Those that wait when it becomes kInside go on to 15001.
  kHeld,
};

// weft_members, weft_newcomers and the programs that hold packets, which are pinned by pod: what waits for one agent
// goes on to the next. One thread.
class Newcomers {
 public:
  // `pods`: the folder of all pods.
  Status Open(const PinPaths& pins, MapSizes sizes, const Cgroup& pods);
  Status Set(const std::string& folder, Membership membership);
  // Forgets all but these folders.
  void Keep(const std::vector<std::string>& folders);
  // Pods that nothing is said of are refused for that long from now.
  Status Guard(std::chrono::nanoseconds duration) const;

 private:
  Status Hold(const Cgroup& folder) const;
  // Ok when it is not held.
  void LetGo(uint64_t folder) const;
  std::string PinOf(uint64_t folder, const char* program) const;

  std::string holds_;
  weft_newcomers facts_{};
  ObjectPtr programs_;
  PinnedMap<uint64_t, uint32_t> members_;
  PinnedMap<uint32_t, weft_newcomers> newcomers_;
};

}  // namespace weft
