#include "loop/loop_thread.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace weft {

LoopThread::~LoopThread() = default;

Status LoopThread::Start(std::function<void()> begin) {
  Result<std::unique_ptr<EpollLoop>> loop = EpollLoop::Create();
  if (!loop) return loop.error();
  loop_ = std::move(*loop);
  context_ = std::make_unique<LoopContext>(*loop_);
  thread_ = std::thread([this, begin = std::move(begin)] {
    pthread_setname_np(pthread_self(), "weft-loop");
    if (begin) begin();
    loop_->Run();
  });
  return Ok{};
}

void LoopThread::Stop(std::function<void()> last) {
  if (!thread_.joinable()) return;
  Post(std::move(last));
  loop_->Stop();
  thread_.join();
}

uint32_t DefaultLoops() {
  constexpr uint32_t kMost = 4;
  return std::min(std::max(1U, std::thread::hardware_concurrency()), kMost);
}

}  // namespace weft
