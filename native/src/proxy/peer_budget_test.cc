#include "proxy/peer_budget.h"

#include <gtest/gtest.h>

#include <string>

namespace weft {
namespace {

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

TEST(PeerBudgetTest, EachPeerHasItsOwnShareAndGetsItBackWithTime) {
  PeerBudget budget(2, 1);
  EXPECT_TRUE(budget.Take(Ip("10.0.0.1"), 1000));
  EXPECT_TRUE(budget.Take(Ip("10.0.0.1"), 1000));
  EXPECT_FALSE(budget.Take(Ip("10.0.0.1"), 1000));
  EXPECT_TRUE(budget.Take(Ip("fd00::1"), 1000));
  EXPECT_TRUE(budget.Take(Ip("10.0.0.1"), 2000));
}

TEST(PeerBudgetTest, ManyPeersTakeABoundedAmountOfMemory) {
  PeerBudget budget(1, 0);
  for (int i = 0; i < 5000; ++i) {
    budget.Take(Ip("10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256)), 1000);
    ASSERT_LE(budget.peers(), 1024U);
  }
}

}  // namespace
}  // namespace weft
