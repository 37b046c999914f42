#include "bpf/bpffs.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <memory>
#include <string_view>

#include "base/unique_fd.h"

namespace weft {
namespace {

constexpr char kUsualMount[] = "/sys/fs/bpf";

bool IsBpffs(const std::string& path) {
  struct statfs info{};
  return statfs(path.c_str(), &info) == 0 && info.f_type == BPF_FS_MAGIC;
}

bool IsDirectory(const std::string& path) {
  struct stat info{};
  return lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

// Are our mounts those of the node's first process? Not in a container, whose mounts end with it.
bool MountsAreTheNodes() {
  struct stat own{};
  struct stat first{};
  return stat("/proc/self/ns/mnt", &own) == 0 && stat("/proc/1/ns/mnt", &first) == 0 && own.st_ino == first.st_ino;
}

Status MountBpffs(const std::string& at) {
  if (!MountsAreTheNodes()) {
    return Error{EINVAL, at +
                             " of this node is no bpffs, and programs pinned in a container's own would end with it; " +
                             "on the node: mount -t bpf bpf " + at};
  }
  if (mount("bpf", at.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0) {
    return Error{errno, "mount bpffs at " + at};
  }
  return Ok{};
}

}  // namespace

Status RemovePin(const std::string& path) {
  // A link whose last pin goes is detached only when nobody else holds it; a running agent might.
  const UniqueFd fd(bpf_obj_get(path.c_str()));
  if (fd) bpf_link_detach(fd.get());
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return Error{errno, "remove " + path};
  return Ok{};
}

Status MakeDirs(const std::string& dir) {
  for (size_t slash = dir.find('/', 1);; slash = dir.find('/', slash + 1)) {
    const std::string part = dir.substr(0, slash);
    if (mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) return Error{errno, "make folder " + part};
    if (slash == std::string::npos) return Ok{};
  }
}

Status EnsureBpffsDir(const std::string& dir) {
  if (dir.starts_with(std::string(kUsualMount) + "/") && !IsBpffs(kUsualMount)) {
    if (const Status mounted = MountBpffs(kUsualMount); !mounted) return mounted;
  }
  if (const Status made = MakeDirs(dir); !made) return made;
  return IsBpffs(dir) ? Status(Ok{}) : MountBpffs(dir);
}

std::vector<std::string> ListDir(const std::string& dir) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(dir.c_str()), &closedir);
  if (!stream) return names;
  while (const dirent* entry = readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

Status RemovePinTree(const std::string& dir) {
  for (const std::string& name : ListDir(dir)) {
    const std::string path = dir + "/" + name;
    const Status removed = IsDirectory(path) ? RemovePinTree(path) : RemovePin(path);
    if (!removed) return removed;
  }
  if (rmdir(dir.c_str()) != 0 && errno != ENOENT) return Error{errno, "remove " + dir};
  return Ok{};
}

std::vector<std::string> VersionDirs(const std::string& pin_dir) {
  std::vector<std::string> dirs;
  for (const std::string& name : ListDir(pin_dir)) {
    const bool version = name.size() > 1 && name[0] == 'v' && name.find_first_not_of("0123456789", 1) == name.npos;
    if (version) dirs.push_back(pin_dir + "/" + name);
  }
  return dirs;
}

Result<bool> CleanupPins(const std::string& pin_dir) {
  if (!IsDirectory(pin_dir)) return false;
  if (!IsBpffs(pin_dir)) return Error{EINVAL, pin_dir + " is not on a bpffs, so it is not a folder of ours"};
  const std::vector<std::string> versions = VersionDirs(pin_dir);
  for (const std::string& version : versions) {
    if (const Status removed = RemovePinTree(version); !removed) return removed.error();
  }
  if (ListDir(pin_dir).empty() && pin_dir != kUsualMount && rmdir(pin_dir.c_str()) != 0 && errno == EBUSY) {
    // The bpffs was mounted right here by EnsureBpffsDir.
    umount2(pin_dir.c_str(), MNT_DETACH);
    rmdir(pin_dir.c_str());
  }
  return !versions.empty();
}

}  // namespace weft
