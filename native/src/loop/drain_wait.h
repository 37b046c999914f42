#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

namespace weft {

// Waits, on a thread of its own, until an engine's loops have nothing left or their time is over.
class DrainWait {
 public:
  ~DrainWait() { Abandon(); }
  bool started() const { return thread_.joinable(); }
  // `idle` is asked now and then; `give_up` is called when the deadline has passed before; `done` last, once. All on
  // the new thread.
  void Start(uint64_t deadline_ms, std::function<bool()> idle, std::function<void()> give_up,
             std::function<void()> done);
  // Ends the wait now, if there is one; `done` is called all the same.
  void Abandon();

 private:
  static constexpr uint64_t kLookMs = 20;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool abandoned_ = false;  // guarded by mutex_
};

}  // namespace weft
