#include "bpf/express_self_check.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>
#include <thread>

#include "bpf/cgroup.h"
#include "bpf/express_trial.h"

namespace weft {
namespace {

constexpr int kAttempts = 3;

Status RaiseLoopback() {
  const UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return Error{errno, "socket"};
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) return Error{errno, "raise the loopback device"};
  return Ok{};
}

Result<uint64_t> OwnNetnsCookie() {
  const UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  uint64_t cookie = 0;
  socklen_t length = sizeof(cookie);
  if (getsockopt(fd.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0) return Error{errno, "SO_NETNS_COOKIE"};
  return cookie;
}

// On a thread of its own, which never goes back to the process's namespace.
Result<std::vector<ExpressSelfCheck::Outcome>> RunHere(const std::string& cgroup_path, uint32_t guards_off) {
  if (unshare(CLONE_NEWNET) != 0) return Error{errno, "make a network namespace"};
  if (const Status up = RaiseLoopback(); !up) return up.error();
  const Result<uint64_t> netns = OwnNetnsCookie();
  if (!netns) return netns.error();
  const Result<Cgroup> cgroup = Cgroup::Open(cgroup_path);
  if (!cgroup) return cgroup.error();
  Result<ExpressTrial> trial = ExpressTrial::Start(*cgroup, {.guards_off = guards_off, .only_netns = *netns});
  if (!trial) return trial.error();
  const UniqueFd own(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (const Status watched = trial->Wake(*netns, own.get()); !watched) return watched.error();
  std::vector<ExpressSelfCheck::Outcome> outcomes;
  for (const ExpressCheck& check : ExpressChecks()) outcomes.push_back({&check, check.run(*trial)});
  return outcomes;
}

std::string Explain(const Error& error) {
  return error.code == EPROTO ? error.what : error.what + ": " + std::strerror(error.code);
}

}  // namespace

Result<std::vector<ExpressSelfCheck::Outcome>> ExpressSelfCheck::Run(const std::string& cgroup, uint32_t guards_off) {
  Result<std::vector<Outcome>> result = Error{ECANCELED, "self-test"};
  std::thread([&] { result = RunHere(cgroup, guards_off); }).join();
  return result;
}

std::string ExpressSelfCheck::WhyOff(const std::string& cgroup) {
  std::string why;
  // A machine that is busy with other things may make it miss a deadline.
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    why.clear();
    const Result<std::vector<Outcome>> outcomes = Run(cgroup);
    if (!outcomes) return "cannot test this kernel: " + Explain(outcomes.error());
    for (const Outcome& outcome : *outcomes) {
      if (outcome.status) continue;
      why = std::string(outcome.check->broken) + " (" + Explain(outcome.status.error()) + ")";
      break;
    }
    if (why.empty()) break;
  }
  return why;
}

}  // namespace weft
