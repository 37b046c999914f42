#include "bpf/express_waker.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>

namespace weft {
namespace {

// How long a reader may wait at most for what it has not been told of.
constexpr int kLookEveryMs = 10;

Result<UniqueFd> Duplicate(int fd) {
  UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) return Error{errno, "keep a descriptor"};
  return copy;
}

}  // namespace

Result<std::unique_ptr<ExpressWaker>> ExpressWaker::Start(int program, int lagging) {
  std::unique_ptr<ExpressWaker> waker(new ExpressWaker);
  waker->link_ = UniqueFd(bpf_link_create(program, 0, BPF_TRACE_ITER, nullptr));
  if (!waker->link_) return Error{errno, "attach the program that wakes readers"};
  Result<UniqueFd> map = Duplicate(lagging);
  if (!map) return map.error();
  waker->lagging_ = std::move(*map);
  waker->stop_ = UniqueFd(eventfd(0, EFD_CLOEXEC));
  if (!waker->stop_) return Error{errno, "eventfd"};
  waker->thread_ = std::thread([self = waker.get()] { self->Run(); });
  return waker;
}

ExpressWaker::~ExpressWaker() {
  if (!thread_.joinable()) return;
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

Status ExpressWaker::Watch(uint64_t id, int netns) {
  Result<UniqueFd> copy = Duplicate(netns);
  if (!copy) return copy.error();
  const std::lock_guard lock(mutex_);
  netns_.insert_or_assign(id, std::move(*copy));
  return Ok{};
}

void ExpressWaker::Forget(uint64_t id) {
  const std::lock_guard lock(mutex_);
  netns_.erase(id);
}

void ExpressWaker::Run() {
  const UniqueFd home(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  pollfd stopped{.fd = stop_.get(), .events = POLLIN, .revents = 0};
  while (poll(&stopped, 1, kLookEveryMs) == 0) {
    uint64_t reader = 0;
    if (bpf_map_get_next_key(lagging_.get(), nullptr, &reader) != 0) continue;
    const std::lock_guard lock(mutex_);
    for (const auto& [id, netns] : netns_) WakeIn(netns.get());
    setns(home.get(), CLONE_NEWNET);
  }
}

// Opening the iterator takes the namespace of the thread, reading it runs the program.
void ExpressWaker::WakeIn(int netns) const {
  if (setns(netns, CLONE_NEWNET) != 0) return;
  const UniqueFd sockets(bpf_iter_create(link_.get()));
  std::array<char, 64> nothing{};
  while (sockets && read(sockets.get(), nothing.data(), nothing.size()) > 0) {
  }
}

}  // namespace weft
