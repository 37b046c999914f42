#include "base/pending_budget.h"

#include <gtest/gtest.h>

#include <vector>

namespace weft {
namespace {

size_t TakeAll(PendingShare& share) {
  size_t n = 0;
  while (share.Take(1)) ++n;
  return n;
}

TEST(PendingBudgetTest, OnePodGetsHalf) {
  PendingBudget budget(1000);
  PendingShare pod(budget);
  EXPECT_EQ(TakeAll(pod), 500U);
}

TEST(PendingBudgetTest, HoweverManyPodsTakeAllTheyCanTheNextFindsRoom) {
  PendingBudget budget(100'000);
  std::vector<PendingShare> hogs(9, PendingShare(budget));
  for (PendingShare& hog : hogs) TakeAll(hog);
  PendingShare modest(budget);
  EXPECT_TRUE(modest.Take(100));
  EXPECT_LE(budget.held(), 100'000U);
}

TEST(PendingBudgetTest, WhatIsGivenBackIsThereForOthers) {
  PendingBudget budget(1000);
  PendingShare one(budget);
  PendingShare other(budget);
  EXPECT_FALSE(one.Take(1001));
  ASSERT_TRUE(one.Take(500));
  EXPECT_FALSE(other.Take(501));
  one.Give(500);
  EXPECT_TRUE(other.Take(500));
  EXPECT_EQ(budget.held(), 500U);
}

}  // namespace
}  // namespace weft
