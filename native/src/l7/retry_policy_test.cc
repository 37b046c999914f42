#include "l7/retry_policy.h"

#include <gtest/gtest.h>

#include <random>

#include "l7.pb.h"
#include "l7/grpc.h"

namespace weft::l7 {
namespace {

RetryProgram PolicyOn(std::initializer_list<RetryOn> on) {
  RetryProgram policy;
  policy.attempts = 2;
  for (const RetryOn each : on) policy.on |= RetryBit(each);
  return policy;
}

TEST(RetryPolicy, KnowsWhichFailuresItMeans) {
  const RetryProgram connect = PolicyOn({CONNECT_FAILURE});
  EXPECT_TRUE(RetriesFailure(connect, UpstreamFailure::kRemoteConnectionFailure, false));
  EXPECT_TRUE(RetriesFailure(connect, UpstreamFailure::kConnectionTimeout, false));
  EXPECT_FALSE(RetriesFailure(connect, UpstreamFailure::kConnectionTermination, true));
  const RetryProgram before = PolicyOn({RESET_BEFORE_REQUEST});
  EXPECT_TRUE(RetriesFailure(before, UpstreamFailure::kConnectionTermination, false));
  EXPECT_FALSE(RetriesFailure(before, UpstreamFailure::kConnectionTermination, true));
  for (const RetryOn each : {RESET, FIVE_XX, GATEWAY_ERROR}) {
    EXPECT_TRUE(RetriesFailure(PolicyOn({each}), UpstreamFailure::kRemoteReset, true));
    EXPECT_TRUE(RetriesFailure(PolicyOn({each}), UpstreamFailure::kPerTryTimeout, true));
    EXPECT_FALSE(RetriesFailure(PolicyOn({each}), UpstreamFailure::kOverflow, false));
  }
}

TEST(RetryPolicy, DrawsTheBackOffFromADoublingRange) {
  RetryProgram policy = PolicyOn({FIVE_XX});
  std::mt19937 random(7);
  for (uint32_t retry = 1; retry < 40; ++retry) {
    const uint64_t range = retry > 20 ? UINT64_MAX : ((uint64_t{1} << retry) - 1) * policy.backoff_base_ms;
    for (int i = 0; i < 200; ++i) {
      const uint64_t drawn = BackoffMs(policy, retry, static_cast<uint32_t>(random()));
      EXPECT_LT(drawn, range);
      EXPECT_LE(drawn, policy.backoff_max_ms);
    }
  }
  policy.backoff_min_ms = 100;
  EXPECT_GE(BackoffMs(policy, 1, 0), 100u);
}

TEST(Grpc, ReadsTimeouts) {
  EXPECT_EQ(ParseGrpcTimeoutMs("100m"), 100u);
  EXPECT_EQ(ParseGrpcTimeoutMs("1H"), 3'600'000u);
  EXPECT_EQ(ParseGrpcTimeoutMs("1u"), 1u);
  EXPECT_EQ(ParseGrpcTimeoutMs("99999999S"), 99'999'999'000u);
  for (const char* bad : {"", "m", "1", "1x", "-1m", "123456789m", "1 m"}) EXPECT_FALSE(ParseGrpcTimeoutMs(bad)) << bad;
}

TEST(Grpc, CountsMessagesWhereverTheyAreCut) {
  const std::string message("\0\0\0\1\0", 5);
  std::string bytes;
  for (int i = 0; i < 3; ++i) bytes += message + std::string(256, 'x');
  bytes += std::string("\0\0\0\0\0", 5);  // an empty one
  std::mt19937 random(11);
  for (int i = 0; i < 200; ++i) {
    GrpcMessageCounter counter;
    std::span<const uint8_t> left(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    while (!left.empty()) {
      const size_t n = std::min<size_t>(random() % 9 + 1, left.size());
      counter.Feed(left.first(n));
      left = left.subspan(n);
    }
    EXPECT_EQ(counter.messages(), 4u);
  }
}

TEST(Grpc, EncodesMessages) {
  Arena arena;
  EXPECT_EQ(EncodeGrpcMessage("fine", arena), "fine");
  EXPECT_EQ(EncodeGrpcMessage("50%\n\xc3\xa9", arena), "50%25%0A%C3%A9");
}

}  // namespace
}  // namespace weft::l7
