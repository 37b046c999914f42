#include "security/rate_limit.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "l7.pb.h"

namespace weft::security {
namespace {

int Taken(SharedBucket& bucket, uint64_t now_ms, int tries) {
  int taken = 0;
  for (int i = 0; i < tries; ++i) taken += bucket.Take(now_ms) ? 1 : 0;
  return taken;
}

TEST(SharedBucketTest, FillsByIntervalsUpToItsSize) {
  SharedBucket bucket(10, 3, 1000);
  EXPECT_EQ(Taken(bucket, 5000, 20), 10);
  EXPECT_EQ(Taken(bucket, 5999, 20), 0);
  EXPECT_EQ(Taken(bucket, 6000, 20), 3);
  EXPECT_EQ(Taken(bucket, 8000, 20), 6);
  EXPECT_EQ(Taken(bucket, 100'000, 20), 10);
}

TEST(SharedBucketTest, LoopsShareIt) {
  SharedBucket bucket(1000, 1, 1'000'000);
  std::atomic<int> taken{0};
  std::vector<std::thread> loops;
  for (int i = 0; i < 4; ++i) loops.emplace_back([&] { taken += Taken(bucket, 1, 1000); });
  for (std::thread& loop : loops) loop.join();
  EXPECT_EQ(taken, 1000);
}

TEST(RateLimitProgramTest, RefusesABucketThatNeverFills) {
  l7::RateLimits limits;
  limits.mutable_local()->set_tokens(5);
  EXPECT_FALSE(RateLimitProgram::Compile(limits).has_value());
  limits.mutable_local()->set_fill_interval_ms(1000);
  EXPECT_TRUE(RateLimitProgram::Compile(limits).has_value());
}

}  // namespace
}  // namespace weft::security
