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
  limits.mutable_local()->add_descriptors()->set_tokens(5);
  EXPECT_FALSE(RateLimitProgram::Compile(limits).has_value());
}

TEST(LocalLimitTest, TakesATokenOfEveryDescriptorThatARequestIs) {
  l7::RateLimits limits;
  l7::LocalRateLimit& local = *limits.mutable_local();
  local.set_tokens(3);
  local.set_fill_interval_ms(1000);
  l7::DescriptorBucket& dear = *local.add_descriptors();
  dear.set_tokens(1);
  dear.set_fill_interval_ms(1000);
  l7::DescriptorBucket::Entry& entry = *dear.add_entries();
  entry.set_key("path");
  entry.set_value("/dear");
  const LimitDescriptor is_dear{{"path", "/dear"}}, other{{"path", "/"}}, longer{{"path", "/dear"}, {"a", "b"}};
  const auto program = *RateLimitProgram::Compile(limits);
  EXPECT_TRUE(program->local->Take({other, is_dear}, 5));
  EXPECT_FALSE(program->local->Take({is_dear}, 5));
  EXPECT_TRUE(program->local->Take({longer}, 5));
  EXPECT_TRUE(program->local->Take({}, 5));
  EXPECT_FALSE(program->local->Take({other}, 5));

  local.set_spare_own_bucket(true);
  local.mutable_descriptors(0)->set_tokens(5);
  const auto sparing = *RateLimitProgram::Compile(limits);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(sparing->local->Take({is_dear}, 5));
  EXPECT_FALSE(sparing->local->Take({is_dear}, 5));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(sparing->local->Take({}, 5));
  EXPECT_FALSE(sparing->local->Take({}, 5));
}

}  // namespace
}  // namespace weft::security
