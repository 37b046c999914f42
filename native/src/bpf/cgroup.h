#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace weft {

// An open cgroup v2 folder.
struct Cgroup {
  static Result<Cgroup> Open(const std::string& path);

  // Is `other` this cgroup or below it?
  bool Contains(const Cgroup& other) const;

  UniqueFd fd;
  // Absolute, without symbolic links.
  std::string path;
  // What bpf_get_current_cgroup_id() returns, whatever namespace looks; never used again by the kernel while it runs.
  uint64_t id = 0;
};

}  // namespace weft
