#include "bpf/cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cstdlib>

namespace weft {
namespace {

bool IsCgroup2(const std::string& path) {
  struct statfs info{};
  return statfs(path.c_str(), &info) == 0 && info.f_type == CGROUP2_SUPER_MAGIC;
}

uint64_t Inode(const std::string& path) {
  struct stat info{};
  return stat(path.c_str(), &info) == 0 ? info.st_ino : 0;
}

}  // namespace

Result<Cgroup> Cgroup::Open(const std::string& path) {
  char* resolved = realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return Error{errno, "cgroup " + path};
  Cgroup cgroup;
  cgroup.path = resolved;
  std::free(resolved);
  if (!IsCgroup2(cgroup.path)) {
    return Error{EINVAL, path + " is not in a cgroup v2 hierarchy; look for type cgroup2 in /proc/self/mounts"};
  }
  cgroup.fd = UniqueFd(open(cgroup.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup.fd) return Error{errno, "open cgroup " + path};
  // On 64-bit kernels (all that we support) the inode number is the whole cgroup id.
  cgroup.id = Inode(cgroup.path);
  return cgroup;
}

bool Cgroup::Contains(const Cgroup& other) const {
  return other.path == path || other.path.starts_with(path == "/" ? path : path + "/");
}

}  // namespace weft
