#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "loop/epoll_loop.h"
#include "loop/loop_context.h"
#include "on_loop.h"

namespace weft::test {

// A loop that runs on a thread of its own between SetUp and TearDown.
class LoopTest : public testing::Test {
 protected:
  LoopTest() : loop_(std::move(*EpollLoop::Create())), context_(*loop_) {}
  void SetUp() override {
    runner_ = std::thread([this] { loop_->Run(); });
  }
  void TearDown() override {
    loop_->Stop();
    runner_.join();
  }

  // On the loop's thread, where everything of a connection is, and what follows from it there.
  void On(const std::function<void()>& run) {
    OnLoop(*loop_, run);
    for (int i = 0; i < 2; ++i) OnLoop(*loop_, [] {});
  }

  std::unique_ptr<EpollLoop> loop_;
  LoopContext context_;

 private:
  std::thread runner_;
};

}  // namespace weft::test
