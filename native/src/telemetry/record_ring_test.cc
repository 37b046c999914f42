#include "telemetry/record_ring.h"

#include <gtest/gtest.h>

#include <thread>

#include "telemetry/test_record.h"

namespace weft::telemetry {
namespace {

TEST(RecordQueueTest, WakesOnceUntilSomebodyTakes) {
  int woken = 0;
  RecordQueue queue([&woken] { ++woken; });
  std::vector<uint8_t> bytes{1, 2};
  queue.Put(bytes, 1);
  bytes = {3};
  queue.Put(bytes, 1);
  EXPECT_EQ(woken, 1);
  EXPECT_EQ(queue.Take(), (std::vector<uint8_t>{1, 2, 3}));
  bytes = {4};
  queue.Put(bytes, 1);
  EXPECT_EQ(woken, 2);
}

TEST(RecordQueueTest, CountsWhatNobodyTookInTime) {
  RecordQueue queue([] {});
  for (size_t sent = 0; sent < RecordQueue::kCapacityBytes; sent += 1 << 20) {
    std::vector<uint8_t> bytes(1 << 20);
    queue.Put(bytes, 10);
  }
  EXPECT_EQ(queue.lost(), 0u);
  std::vector<uint8_t> bytes(1);
  queue.Put(bytes, 7);
  EXPECT_EQ(queue.lost(), 7u);
  EXPECT_TRUE(bytes.empty());
  EXPECT_EQ(queue.Take().size(), RecordQueue::kCapacityBytes);
}

TEST(RecordRingTest, HandsOverWhatATurnHasCollected) {
  auto loop = EpollLoop::Create();
  ASSERT_TRUE(loop);
  EpollLoop& epoll = **loop;
  auto queue = std::make_shared<RecordQueue>([&epoll] { epoll.Stop(); });
  RecordRing ring(epoll, queue);
  const TestRequest request;
  ring.Append(request.record);
  ring.Append(request.record);
  EXPECT_TRUE(queue->Take().empty());
  epoll.Run();  // until the timer's flush wakes the queue
  EXPECT_GT(queue->Take().size(), 1'000u);
}

}  // namespace
}  // namespace weft::telemetry
