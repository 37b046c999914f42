#include "telemetry/request_id.h"

#include <gtest/gtest.h>

#include <string>
#include <unordered_set>

namespace weft::telemetry {
namespace {

TEST(RequestIdTest, NewIdsAreUuidsOfVersionFourAndDiffer) {
  Random random;
  std::unordered_set<std::string> seen;
  for (int i = 0; i < 10'000; ++i) {
    const RequestIdText id = MakeRequestId(random);
    const std::string text(id.data(), id.size());
    EXPECT_EQ(ReadTraceReason(text), TraceReason::kNone);
    EXPECT_EQ(text[14], '4');
    EXPECT_NE(std::string("89ab").find(text[19]), std::string::npos);
    EXPECT_TRUE(seen.insert(text).second);
  }
}

TEST(RequestIdTest, TheVersionSaysWhyARequestIsTraced) {
  std::string id = "6a7e0b1c-0000-4000-8000-000000000000";
  for (const TraceReason reason : {TraceReason::kSampled, TraceReason::kServiceForced, TraceReason::kClientForced}) {
    WriteTraceReason(id.data(), reason);
    EXPECT_EQ(ReadTraceReason(id), reason);
  }
  EXPECT_EQ(ReadTraceReason("6a7e0b1c-0000-1000-8000-000000000000"), TraceReason::kNone);
}

TEST(RequestIdTest, WhatIsNotShapedLikeAUuidIsNotTraceable) {
  EXPECT_FALSE(ReadTraceReason(""));
  EXPECT_FALSE(ReadTraceReason("my-request"));
  EXPECT_FALSE(ReadTraceReason("6a7e0b1c-0000-4000-8000-00000000000g"));
  EXPECT_FALSE(ReadTraceReason("6a7e0b1c000004000-8000-0000000000000"));
}

TEST(RequestIdTest, TheSameIdFallsIntoTheSameShareEverywhere) {
  Random random(7);
  int taken = 0;
  constexpr int kIds = 100'000;
  for (int i = 0; i < kIds; ++i) {
    const RequestIdText id = MakeRequestId(random);
    const std::string_view text(id.data(), id.size());
    EXPECT_FALSE(FallsIntoShare(text, 0));
    EXPECT_TRUE(FallsIntoShare(text, 1'000'000));
    taken += FallsIntoShare(text, 10'000);
  }
  EXPECT_NEAR(taken, kIds / 100, 150);
}

}  // namespace
}  // namespace weft::telemetry
