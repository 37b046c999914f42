#pragma once

#include <functional>
#include <future>

#include "test_net.h"

namespace weft::test {

// Runs `run` on the thread of `loop` (an EpollLoop or a LoopThread) and waits for it.
template <typename Loop>
void OnLoop(Loop& loop, const std::function<void()>& run) {
  std::promise<void> done;
  loop.Post([&] {
    run();
    done.set_value();
  });
  done.get_future().wait();
}

// Eventually(), with the condition looked at on the loop's thread.
template <typename Loop>
bool EventuallyOnLoop(Loop& loop, const std::function<bool()>& condition) {
  return Eventually([&] {
    bool holds = false;
    OnLoop(loop, [&] { holds = condition(); });
    return holds;
  });
}

}  // namespace weft::test
