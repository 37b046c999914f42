#include "proxy/connect_target.h"

#include <gtest/gtest.h>

#include "hbone/hpack.h"

namespace weft {
namespace {

TEST(ConnectTargetTest, TraceIdNeedsTheW3cForm) {
  const auto id = TraceIdOf("00-0102030405060708090a0b0c0d0e0f10-0102030405060708-00");
  ASSERT_TRUE(id);
  EXPECT_EQ((*id)[15], 16);
  EXPECT_FALSE(TraceIdOf(""));
  EXPECT_FALSE(TraceIdOf("00-xx02030405060708090a0b0c0d0e0f10-0102030405060708-00"));
  EXPECT_FALSE(TraceIdOf("01-0102030405060708090a0b0c0d0e0f10-0102030405060708-00"));
}

}  // namespace
}  // namespace weft
