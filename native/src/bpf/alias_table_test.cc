#include "bpf/alias_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

namespace weft {
namespace {

// How often each slot comes out, in draws of 2^32 per slot.
std::vector<uint64_t> Shares(const std::vector<AliasSlot>& slots) {
  std::vector<uint64_t> shares(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    const uint64_t kept = uint64_t{slots[i].keep} + 1;
    shares[i] += kept;
    shares.at(slots[i].alias) += (uint64_t{1} << 32) - kept;
  }
  return shares;
}

TEST(AliasTable, GivesEveryWeightItsShare) {
  std::mt19937 random(4);
  for (int round = 0; round < 300; ++round) {
    const size_t n = 1 + random() % 200;
    // Equal, small, skewed and the largest weights.
    const uint32_t limit = std::array<uint32_t, 4>{1, 10, 1'000'000, UINT32_MAX}[random() % 4];
    std::vector<uint32_t> weights(n);
    for (uint32_t& weight : weights) weight = 1 + random() % limit;
    const double sum = static_cast<double>(std::accumulate(weights.begin(), weights.end(), uint64_t{0}));
    const std::vector<uint64_t> shares = Shares(MakeAliasTable(weights));
    const double draws = static_cast<double>(n) * 0x1p32;
    for (size_t i = 0; i < n; ++i) {
      // Each of the n slots rounds by one draw at most.
      EXPECT_NEAR(static_cast<double>(shares[i]), weights[i] / sum * draws, static_cast<double>(n) + 1);
    }
  }
}

TEST(AliasTable, KeepsTheOnlyEndpointAndEqualOnes) {
  EXPECT_EQ(Shares(MakeAliasTable(std::vector<uint32_t>{7})), (std::vector<uint64_t>{uint64_t{1} << 32}));
  for (const AliasSlot& slot : MakeAliasTable(std::vector<uint32_t>(5, UINT32_MAX))) EXPECT_EQ(slot.keep, UINT32_MAX);
}

TEST(AliasTable, SumsBeyond32Bits) {
  // 100,000 of the largest weight and one of the smallest.
  std::vector<uint32_t> weights(100'000, UINT32_MAX);
  weights.push_back(1);
  const std::vector<uint64_t> shares = Shares(MakeAliasTable(weights));
  EXPECT_LE(shares.back(), 2U);
  EXPECT_NEAR(static_cast<double>(shares.front()), 0x1p32 * 100'001 / 100'000, 2.0);
}

// As the connect program draws.
TEST(AliasTable, DrawsByWeight) {
  const std::vector<uint32_t> weights = {1, 1, 2, 3, 5, 8, 13, 100};
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  const std::vector<AliasSlot> slots = MakeAliasTable(weights);
  std::mt19937 random(7);
  constexpr int kDraws = 1'000'000;
  std::vector<int> seen(weights.size());
  for (int i = 0; i < kDraws; ++i) {
    uint32_t slot = random() % slots.size();
    if (random() > slots[slot].keep) slot = slots[slot].alias;
    ++seen[slot];
  }
  double chi_square = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double expected = kDraws * weights[i] / sum;
    chi_square += std::pow(seen[i] - expected, 2) / expected;
  }
  // 0.999 quantile with 7 degrees of freedom.
  EXPECT_LT(chi_square, 24.3);
}

}  // namespace
}  // namespace weft
