#include "bpf/features.h"

#include <bpf/libbpf.h>
#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>

#include "base/unique_fd.h"
#include "bpf/redirect_link.h"
#include "bpf/socket_diag.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace weft {
namespace {

bool HasNetnsCookie() {
  const UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  uint64_t cookie = 0;
  socklen_t length = sizeof(cookie);
  return fd && getsockopt(fd.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) == 0;
}

uint64_t EffectiveCapabilities() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("CapEff:")) return std::strtoull(line.c_str() + 7, nullptr, 16);
  }
  return 0;
}

std::string RunningKernel() {
  utsname name{};
  return uname(&name) == 0 ? name.release : "unknown";
}

}  // namespace

std::span<const KernelFeature> CaptureFeatures() {
  static const std::array<KernelFeature, 6> features = {{
      {"btf", "the type information of the running kernel (CONFIG_DEBUG_INFO_BTF)", "5.4",
       [] { return access("/sys/kernel/btf/vmlinux", R_OK) == 0; }},
      {"cgroup-sock-addr", "cgroup socket address programs (CONFIG_CGROUP_BPF)", "5.8",
       [] { return libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, nullptr) == 1; }},
      {"sk-storage", "per-socket storage maps", "5.8",
       [] {
         return libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SK_STORAGE, nullptr) == 1 &&
                libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_sk_storage_get, nullptr) == 1;
       }},
      {"sk-lookup", "socket lookup programs (sk_lookup)", "5.9",
       [] { return libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_SK_LOOKUP, nullptr) == 1; }},
      {"netns-cookie", "network namespace cookies of sockets (SO_NETNS_COOKIE)", "5.14", HasNetnsCookie},
      {"sockops-netns-cookie", "network namespace cookies in sockops programs (bpf_get_netns_cookie)", "5.15",
       [] { return libbpf_probe_bpf_helper(BPF_PROG_TYPE_SOCK_OPS, BPF_FUNC_get_netns_cookie, nullptr) == 1; }},
  }};
  return features;
}

std::span<const KernelFeature> OptionalFeatures() {
  static const std::array<KernelFeature, 3> features = {{
      {"set-retval", "bpf_set_retval", "5.18",
       [] { return libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval, nullptr) == 1; }},
      {"socket-destroy", "ending of other processes' connections (CONFIG_INET_DIAG_DESTROY)", "4.9",
       [] { return static_cast<bool>(CheckSocketDestroy()); }},
      {"tcx", "tcx links", "6.6", HasTcx},
  }};
  return features;
}

Status CheckFeatures(std::span<const KernelFeature> features) {
  for (const KernelFeature& feature : features) {
    if (feature.present()) continue;
    return Error{EOPNOTSUPP, std::string("this kernel (") + RunningKernel() + ") lacks " + feature.name +
                                 "; the oldest kernel that has it is " + feature.oldest_kernel};
  }
  return Ok{};
}

Status CheckPrivileges() {
  struct Capability {
    int number;
    const char* name;
  };
  // SYS_ADMIN for entering network namespaces and mounting bpffs.
  constexpr std::array<Capability, 4> kNeeded = {{{CAP_BPF, "CAP_BPF"},
                                                  {CAP_PERFMON, "CAP_PERFMON"},
                                                  {CAP_NET_ADMIN, "CAP_NET_ADMIN"},
                                                  {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}}};
  const uint64_t have = EffectiveCapabilities();
  std::string missing;
  for (const Capability& capability : kNeeded) {
    if ((have >> capability.number & 1) != 0) continue;
    missing += (missing.empty() ? "" : ", ") + std::string(capability.name);
  }
  if (missing.empty()) return Ok{};
  return Error{EPERM, "loading BPF needs " + missing + "; run as root"};
}

}  // namespace weft
