#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weft {

// Pins of other ABI versions in our pin folder, left by an agent before an upgrade or a downgrade. Their capture of a
// pod ends when ours has begun, or when the pod is released; a version goes with its last pod. Until then its programs
// hold: what they decide by themselves goes on, and what they steer to 15001 is refused, because nobody knows the
// original destination there; never plaintext. Direct connections that were opened under them go on like connections
// from before enrolment: nobody lists, records or ends them.
class OtherVersions {
 public:
  // `own_root` is our version's folder in `pin_dir`.
  OtherVersions(std::string pin_dir, std::string own_root);

  // Netns cookies that they hold.
  std::vector<uint64_t> Pods() const;
  // Ends their capture of this pod, which ours may have by now, and removes versions without pods.
  void Release(uint64_t pod) const;
  // Removes versions without pods.
  void Sweep() const;

 private:
  std::vector<std::string> Roots() const;

  std::string pin_dir_;
  std::string own_root_;
};

// Netns cookies in the `pods` folder of one version.
std::vector<uint64_t> PinnedPods(const std::string& root);

}  // namespace weft
