#include "loop/epoll_loop.h"

#include <sched.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <chrono>
#include <ctime>

namespace weft {

namespace {

uint64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

uint64_t MonotonicMs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1000000;
}

Result<std::unique_ptr<EpollLoop>> EpollLoop::Create() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return Error{errno, "epoll_create1"};
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return Error{errno, "eventfd"};
  std::unique_ptr<EpollLoop> loop(new EpollLoop(std::move(epoll), std::move(wake), MonotonicMs()));
  // Edge-triggered: the counter is never read, each write is a new edge.
  if (Status status = loop->Watch(loop->wake_.get(), EPOLLIN | EPOLLET, &loop->wakeup_); !status) {
    return status.error();
  }
  return loop;
}

EpollLoop::EpollLoop(UniqueFd epoll, UniqueFd wake, uint64_t now_ms)
    : epoll_(std::move(epoll)), wake_(std::move(wake)), timers_(now_ms), now_ms_(now_ms) {}

EpollLoop::~EpollLoop() { FinishTurn(); }

void EpollLoop::Run() {
  epoll_event events[kEventsPerTurn];
  while (!stop_.load(std::memory_order_acquire)) {
    const int wait_ms = next_turn_.empty() ? timers_.NextDelayMs(now_ms_) : 0;
    const int n = Wait(events, wait_ms);
    now_ms_ = MonotonicMs();
    // What is queued from here on belongs to the turn after this one.
    IntrusiveList<TurnTask> continued;
    next_turn_.MoveTo(continued);
    // Before the events: a connection that came after a table change must see it.
    RunPosted();
    for (int i = 0; i < n; ++i) static_cast<IoHandler*>(events[i].data.ptr)->OnIo(events[i].events);
    while (TurnTask* task = continued.PopFront()) task->run_();
    timers_.Advance(now_ms_);
    FinishTurn();
  }
}

int EpollLoop::Wait(epoll_event* events, int wait_ms) {
  if (wait_ms == 0) return epoll_wait(epoll_.get(), events, kEventsPerTurn, 0);
  const uint64_t begin_ns = MonotonicNs();
  while (soon_ && MonotonicNs() - begin_ns < kPollNs) {
    if (const int n = epoll_wait(epoll_.get(), events, kEventsPerTurn, 0); n != 0) return n;
    sched_yield();  // whoever we wait for may need this processor
  }
  const int n = epoll_wait(epoll_.get(), events, kEventsPerTurn, wait_ms);
  soon_ = n > 0 && MonotonicNs() - begin_ns < kPollNs;
  return n;
}

void EpollLoop::FinishTurn() {
  while (TurnTask* task = end_of_turn_.PopFront()) task->run_();
  // A destructor may retire more.
  for (size_t i = 0; i < retired_.size(); ++i) {
    const Retired retired = retired_[i];
    retired.destroy(retired.object);
  }
  retired_.clear();
}

void EpollLoop::Stop() {
  Post([this] { stop_.store(true, std::memory_order_release); });
}

void EpollLoop::Post(std::function<void()> task) {
  bool first;
  {
    std::lock_guard lock(mutex_);
    first = posted_.empty();
    posted_.push_back(std::move(task));
  }
  if (!first) return;  // whoever made the queue non-empty has rung already
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_.get(), &one, sizeof one);
}

void EpollLoop::RunPosted() {
  {
    std::lock_guard lock(mutex_);
    running_.swap(posted_);
  }
  for (auto& task : running_) task();
  running_.clear();
}

Status EpollLoop::Watch(int fd, uint32_t events, IoHandler* handler) {
  epoll_event event{.events = events, .data = {.ptr = handler}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return Error{errno, "epoll_ctl add"};
  return Ok{};
}

void EpollLoop::Rewatch(int fd, uint32_t events, IoHandler* handler) {
  epoll_event event{.events = events, .data = {.ptr = handler}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void EpollLoop::Unwatch(int fd) { epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

}  // namespace weft
