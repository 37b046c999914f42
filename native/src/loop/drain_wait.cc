#include "loop/drain_wait.h"

#include <chrono>
#include <utility>

namespace weft {

void DrainWait::Start(uint64_t deadline_ms, std::function<bool()> idle, std::function<void()> give_up,
                      std::function<void()> done) {
  using namespace std::chrono;
  const auto deadline = steady_clock::now() + milliseconds(deadline_ms);
  thread_ = std::thread([this, deadline, idle = std::move(idle), give_up = std::move(give_up), done = std::move(done)] {
    while (!idle()) {
      if (steady_clock::now() >= deadline) {
        give_up();
        break;
      }
      std::unique_lock lock(mutex_);
      if (wake_.wait_for(lock, milliseconds(kLookMs), [this] { return abandoned_; })) break;
    }
    done();
  });
}

void DrainWait::Abandon() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    abandoned_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

}  // namespace weft
