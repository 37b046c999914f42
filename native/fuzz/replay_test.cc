// Runs every seed of native/fuzz/corpus/<target>/ through its target: a promise broken once stays fixed.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "fuzz/fuzz_target.h"

namespace weft::fuzz {
namespace {

// WEFT_FUZZ_CORPUS: the corpus folder of the source tree, from the build.
const std::filesystem::path kCorpus = WEFT_FUZZ_CORPUS;

std::vector<uint8_t> Read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST(FuzzReplayTest, EverySeedHolds) {
  ASSERT_FALSE(Targets().empty());
  for (const auto& [name, target] : Targets()) {
    size_t seeds = 0;
    for (const auto& entry : std::filesystem::directory_iterator(kCorpus / name)) {
      SCOPED_TRACE(entry.path().string());
      target(Read(entry.path()));
      ++seeds;
    }
    EXPECT_GT(seeds, 0u) << "no seed for " << name;
  }
}

TEST(FuzzReplayTest, EveryCorpusHasATarget) {
  for (const auto& entry : std::filesystem::directory_iterator(kCorpus)) {
    EXPECT_TRUE(Targets().contains(entry.path().filename().string())) << entry.path();
  }
}

}  // namespace
}  // namespace weft::fuzz
