#pragma once

#include <functional>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

#include "base/result.h"
#include "loop/epoll_loop.h"
#include "loop/loop_context.h"

namespace weft {

// One event loop with what everything on it shares, on a thread of its own.
class LoopThread {
 public:
  LoopThread() = default;
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;
  // Stop() came before, if Start() did.
  ~LoopThread();

  // `begin` runs on the new thread before its first turn.
  Status Start(std::function<void()> begin = {});
  // Runs `last` as the loop's last task and joins the thread. Idempotent.
  void Stop(std::function<void()> last);
  // Any thread.
  void Post(std::function<void()> task) { loop_->Post(std::move(task)); }

  LoopContext& context() { return *context_; }
  const LoopContext& context() const { return *context_; }
  EpollLoop& loop() { return *loop_; }

 private:
  std::unique_ptr<EpollLoop> loop_;
  std::unique_ptr<LoopContext> context_;
  std::thread thread_;
};

// As many loops as an engine has when it is not told.
uint32_t DefaultLoops();

// Runs `work` on the loop of each worker and waits for all.
template <typename Worker>
void RunOnEach(const std::vector<std::unique_ptr<Worker>>& workers, const std::function<void(Worker&)>& work) {
  std::latch done(static_cast<ptrdiff_t>(workers.size()));
  for (auto& worker : workers) {
    worker->Post([&, raw = worker.get()] {
      work(*raw);
      done.count_down();
    });
  }
  done.wait();
}

}  // namespace weft
