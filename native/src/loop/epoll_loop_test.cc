#include "loop/epoll_loop.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <thread>

namespace weft {
namespace {

TEST(EpollLoopTest, TasksOfManyThreadsRunInTheirOrder) {
  auto loop = std::move(*EpollLoop::Create());
  std::thread runner([&] { loop->Run(); });
  constexpr int kThreads = 4;
  constexpr int kTasks = 1000;
  int next[kThreads] = {};
  bool ordered = true;
  std::vector<std::thread> posters;
  for (int i = 0; i < kThreads; ++i) {
    posters.emplace_back([&, i] {
      for (int n = 0; n < kTasks; ++n) {
        loop->Post([&, i, n] { ordered = ordered && next[i]++ == n; });
      }
    });
  }
  for (std::thread& poster : posters) poster.join();
  loop->Stop();
  runner.join();
  EXPECT_TRUE(ordered);
  for (const int n : next) EXPECT_EQ(n, kTasks);
}

TEST(EpollLoopTest, ATaskForTheNextTurnDoesNotRunInThisOne) {
  auto loop = std::move(*EpollLoop::Create());
  int turns = 0;
  TurnTask* self = nullptr;
  TurnTask task([&] {
    if (++turns == 3) {
      loop->Stop();
    } else {
      loop->NextTurn(*self);
    }
  });
  self = &task;
  loop->Post([&] { loop->NextTurn(task); });
  loop->Run();
  EXPECT_EQ(turns, 3);
}

TEST(EpollLoopTest, ARetiredHandlerOutlivesTheEventsOfItsTurn) {
  struct Handler final : IoHandler {
    void OnIo(uint32_t) override {
      ++calls;
      // Both sockets are readable in this turn; whoever is first retires the other.
      if (other != nullptr) loop->Retire(std::unique_ptr<Handler>(std::exchange(other, nullptr)));
      loop->Stop();
    }
    EpollLoop* loop = nullptr;
    Handler* other = nullptr;
    int calls = 0;
  };
  auto loop = std::move(*EpollLoop::Create());
  int pairs[2][2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[0]), 0);
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[1]), 0);
  Handler first;
  auto* second = new Handler;
  first.loop = second->loop = loop.get();
  first.other = second;
  ASSERT_TRUE(loop->Watch(pairs[0][0], EPOLLIN | EPOLLET, &first));
  ASSERT_TRUE(loop->Watch(pairs[1][0], EPOLLIN | EPOLLET, second));
  ASSERT_EQ(write(pairs[0][1], "x", 1), 1);
  ASSERT_EQ(write(pairs[1][1], "x", 1), 1);
  loop->Run();
  EXPECT_EQ(first.calls, 1);
  for (auto& pair : pairs) {
    close(pair[0]);
    close(pair[1]);
  }
}

}  // namespace
}  // namespace weft
