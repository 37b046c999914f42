#include "base/buffer.h"

#include <gtest/gtest.h>

#include <string>

namespace weft {
namespace {

TEST(BufferTest, KeepsOrderWhileItGrowsAndShrinks) {
  BufferPool pool;
  Buffer buffer(pool);
  std::string expected;
  std::string got;
  uint32_t random = 1;
  for (int i = 0; i < 2000; ++i) {
    random = random * 1664525 + 1013904223;
    const std::string piece(random % 5000, static_cast<char>('a' + i % 26));
    buffer.Append({reinterpret_cast<const uint8_t*>(piece.data()), piece.size()});
    expected += piece;
    const size_t n = std::min<size_t>(buffer.size(), random % 6000);
    got.append(reinterpret_cast<char*>(buffer.data()), n);
    buffer.Consume(n);
  }
  got.append(reinterpret_cast<char*>(buffer.data()), buffer.size());
  EXPECT_EQ(got, expected);
}

TEST(BufferTest, AnEmptyBufferHoldsNothing) {
  BufferPool pool;
  Buffer buffer(pool);
  buffer.Reserve(100'000);
  buffer.Commit(10);
  EXPECT_GE(pool.in_use(), 100'000U);
  buffer.Consume(10);
  EXPECT_EQ(pool.in_use(), 0U);
}

TEST(BufferPoolTest, KeepsABoundedAmount) {
  BufferPool pool;
  std::vector<std::pair<uint8_t*, size_t>> blocks;
  for (int i = 0; i < 100; ++i) {
    size_t size = 100'000;
    uint8_t* block = pool.Take(&size);
    blocks.emplace_back(block, size);
  }
  EXPECT_GE(pool.in_use(), 100U * 100'000U);
  for (const auto& [block, size] : blocks) pool.Give(block, size);
  EXPECT_EQ(pool.in_use(), 0U);
}

}  // namespace
}  // namespace weft
