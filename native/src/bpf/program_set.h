#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "bpf/cgroup.h"
#include "bpf/program_object.h"

namespace weft {

// Where everything of one ABI version is pinned: `maps/<name>`, `links/<program>`, `pods/<netns cookie>`,
// `redirects/<netns cookie>`.
struct PinPaths {
  explicit PinPaths(const std::string& pin_dir);
  std::string Map(const char* name) const { return maps + "/" + name; }
  std::string Pod(uint64_t cookie) const { return pods + "/" + std::to_string(cookie); }
  std::string Redirect(uint64_t cookie) const { return redirects + "/" + std::to_string(cookie); }

  std::string root;
  std::string maps;
  std::string links;
  std::string pods;
  std::string redirects;
};

// Loads the programs of one cgroup hook each, sharing maps through their pins, and attaches them by pinned links.
// A link that an earlier process pinned goes on to run without a gap and gets the new code.
class ProgramSet {
 public:
  ProgramSet(const PinPaths& pins, MapSizes sizes) : pins_(pins), sizes_(sizes) {}

  // connect, dns, peername, sockname and sockops at the pods' cgroup.
  Status AttachPods(const Cgroup& pods) const;
  // sockops at the agent's cgroup, for an agent that does not run below the pods' cgroup. nullptr: no longer.
  Status AttachAgent(const Cgroup* agent) const;
  // Probe exemption at the kubelet's cgroup. nullptr: no longer.
  Status AttachKubelet(const Cgroup* kubelet) const;
  // Loads what AttachPod loads and makes its maps, so that a kernel that refuses it is known before the first pod.
  Status TryPod() const;
  // sk_lookup in one pod's network namespace.
  Status AttachPod(uint64_t cookie, int netns_fd) const;
  // The program for the host's end of one pod's device, not attached.
  Result<UniqueFd> LoadRedirect(uint64_t cookie) const;

 private:
  const PinPaths& pins_;
  MapSizes sizes_;
};

}  // namespace weft
