#include "bpf/other_versions.h"

#include <bpf/bpf.h>

#include <charconv>
#include <utility>

#include "base/unique_fd.h"
#include "bpf/bpffs.h"

namespace weft {
namespace {

// In every version weft_pods goes by netns cookie, and a pod that is not in it is steered by nobody.
void RemoveFromPods(const std::string& root, uint64_t pod) {
  const UniqueFd pods(bpf_obj_get((root + "/maps/weft_pods").c_str()));
  if (pods) bpf_map_delete_elem(pods.get(), &pod);
}

}  // namespace

OtherVersions::OtherVersions(std::string pin_dir, std::string own_root)
    : pin_dir_(std::move(pin_dir)), own_root_(std::move(own_root)) {}

std::vector<std::string> OtherVersions::Roots() const {
  std::vector<std::string> roots = VersionDirs(pin_dir_);
  std::erase(roots, own_root_);
  return roots;
}

std::vector<uint64_t> OtherVersions::Pods() const {
  std::vector<uint64_t> pods;
  for (const std::string& root : Roots()) {
    for (const uint64_t pod : PinnedPods(root)) pods.push_back(pod);
  }
  return pods;
}

void OtherVersions::Release(uint64_t pod) const {
  for (const std::string& root : Roots()) {
    RemoveFromPods(root, pod);
    static_cast<void>(RemovePin(root + "/pods/" + std::to_string(pod)));
  }
  Sweep();
}

void OtherVersions::Sweep() const {
  for (const std::string& root : Roots()) {
    if (PinnedPods(root).empty()) static_cast<void>(RemovePinTree(root));
  }
}

std::vector<uint64_t> PinnedPods(const std::string& root) {
  std::vector<uint64_t> pods;
  for (const std::string& name : ListDir(root + "/pods")) {
    uint64_t cookie = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), cookie);
    if (error == std::errc() && end == name.data() + name.size()) pods.push_back(cookie);
  }
  return pods;
}

}  // namespace weft
