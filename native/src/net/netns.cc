#include "net/netns.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <string>
#include <thread>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace weft {

Result<NetNs> NetNs::Open(const char* path) {
  NetNs ns;
  ns.fd_ = UniqueFd(open(path, O_RDONLY | O_CLOEXEC));
  if (!ns.fd_) return Error{errno, std::string("open network namespace ") + path};
  struct stat info{};
  if (fstat(ns.fd_.get(), &info) != 0) return Error{errno, std::string("stat network namespace ") + path};
  ns.dev_ = info.st_dev;
  ns.ino_ = info.st_ino;
  return ns;
}

Result<uint64_t> NetNs::Cookie() const {
  uint64_t cookie = 0;
  const Status status = RunInNetNs(*this, [&]() -> Status {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) return Error{errno, "socket"};
    socklen_t length = sizeof cookie;
    if (getsockopt(fd.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0) {
      return Error{errno, "SO_NETNS_COOKIE (needs Linux 5.14)"};
    }
    return Ok{};
  });
  if (!status) return status.error();
  return cookie;
}

Status RunInNetNs(const NetNs& ns, const std::function<Status()>& work) {
  Status status = Ok{};
  std::thread([&] {
    Result<NetNs> mine = NetNs::Open("/proc/thread-self/ns/net");
    // Entering needs privilege even when we are there already; tests run without.
    const bool inside = mine && mine->SameAs(ns);
    if (!inside && setns(ns.fd(), CLONE_NEWNET) != 0) {
      status = Error{errno, "setns into the pod's network namespace"};
      return;
    }
    status = work();
  }).join();
  return status;
}

Result<ThreadNetNs> ThreadNetNs::OfThisThread() {
  Result<NetNs> home = NetNs::Open("/proc/thread-self/ns/net");
  if (!home) return home.error();
  ThreadNetNs self;
  self.home_ = std::move(*home);
  return self;
}

Status ThreadNetNs::Enter(const NetNs& ns) {
  const NetNs& here = current_ != nullptr ? *current_ : home_;
  if (here.SameAs(ns)) return Ok{};
  if (setns(ns.fd(), CLONE_NEWNET) != 0) return Error{errno, "setns into the pod's network namespace"};
  current_ = &ns;
  return Ok{};
}

void ThreadNetNs::Leave(const NetNs& ns) {
  if (current_ == nullptr || !current_->SameAs(ns)) return;
  setns(home_.fd(), CLONE_NEWNET);
  current_ = nullptr;
}

}  // namespace weft
