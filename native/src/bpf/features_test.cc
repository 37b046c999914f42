#include "bpf/features.h"

#include <gtest/gtest.h>

#include <array>

namespace weft {
namespace {

TEST(Features, NamesTheMissingFeatureAndTheOldestKernelThatHasIt) {
  const std::array<KernelFeature, 2> features = {{
      {"old", "something old", "4.20", [] { return true; }},
      {"new", "something new", "9.1", [] { return false; }},
  }};
  const Status status = CheckFeatures(features);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, EOPNOTSUPP);
  EXPECT_NE(status.error().what.find("lacks something new; the oldest kernel that has it is 9.1"), std::string::npos);
}

TEST(Features, AcceptsAKernelThatHasEverything) {
  const std::array<KernelFeature, 1> features = {{{"some", "something", "1.0", [] { return true; }}}};
  EXPECT_TRUE(CheckFeatures(features));
}

}  // namespace
}  // namespace weft
