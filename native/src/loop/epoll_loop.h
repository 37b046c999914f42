#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/intrusive_list.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "loop/timer_wheel.h"

namespace weft {

// Gets the events of one file descriptor. May be called once more in the turn in which it stopped watching, so it
// checks its own descriptor first and must be retired (EpollLoop::Retire), not deleted.
class IoHandler {
 public:
  virtual void OnIo(uint32_t events) = 0;

 protected:
  ~IoHandler() = default;
};

// Something to run once at the end of the current turn or in the next one. Cancelled by destruction.
class TurnTask {
 public:
  explicit TurnTask(std::function<void()> run) : link_(this), run_(std::move(run)) {}
  void Cancel() { link_.Unlink(); }

 private:
  friend class EpollLoop;
  ListLink<TurnTask> link_;
  std::function<void()> run_;
};

// One thread's event loop. Only Post and Stop may be called from other threads.
class EpollLoop {
 public:
  static Result<std::unique_ptr<EpollLoop>> Create();
  EpollLoop(const EpollLoop&) = delete;
  EpollLoop& operator=(const EpollLoop&) = delete;
  ~EpollLoop();

  // Runs turns on the calling thread until Stop.
  void Run();
  void Stop();
  // Runs `task` on the loop's thread in one of the next turns, in order of posting.
  void Post(std::function<void()> task);

  Status Watch(int fd, uint32_t events, IoHandler* handler);
  // Changes the events of a watched descriptor.
  void Rewatch(int fd, uint32_t events, IoHandler* handler);
  void Unwatch(int fd);

  void Arm(Timer& timer, uint64_t delay_ms) { timers_.Arm(timer, now_ms_, delay_ms); }
  // CLOCK_MONOTONIC at the begin of this turn.
  uint64_t now_ms() const { return now_ms_; }
  // After all events of this turn; a task that is queued already stays where it is.
  void AtEndOfTurn(TurnTask& task) {
    if (!task.link_.linked()) end_of_turn_.PushBack(task.link_);
  }
  // In the next turn, which then does not wait: for work that is cut up for fairness.
  void NextTurn(TurnTask& task) {
    if (!task.link_.linked()) next_turn_.PushBack(task.link_);
  }

  // Destroys `object` after this turn, when no event of the turn can reach it any more.
  template <typename T>
  void Retire(std::unique_ptr<T> object) {
    retired_.push_back({object.release(), [](void* pointer) { delete static_cast<T*>(pointer); }});
  }

 private:
  class Wakeup final : public IoHandler {
   public:
    void OnIo(uint32_t) override {}
  };
  struct Retired {
    void* object;
    void (*destroy)(void*);
  };
  static constexpr int kEventsPerTurn = 256;
  // How long a loop polls before it sleeps, as long as events do come that soon: a request and its answer pass four
  // threads of ours, and putting each to sleep and waking it costs more than all that they do (bench/README.md).
  static constexpr uint64_t kPollNs = 50'000;

  EpollLoop(UniqueFd epoll, UniqueFd wake, uint64_t now_ms);
  int Wait(epoll_event* events, int wait_ms);
  void RunPosted();
  void FinishTurn();

  UniqueFd epoll_;
  UniqueFd wake_;
  Wakeup wakeup_;
  TimerWheel timers_;
  uint64_t now_ms_;
  IntrusiveList<TurnTask> end_of_turn_;
  IntrusiveList<TurnTask> next_turn_;
  std::vector<Retired> retired_;
  bool soon_ = false;  // the last wait was shorter than kPollNs
  std::atomic<bool> stop_{false};

  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  // guarded by mutex_
  std::vector<std::function<void()>> running_;
};

// CLOCK_MONOTONIC in milliseconds.
uint64_t MonotonicMs();

}  // namespace weft
