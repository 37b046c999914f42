#include "base/file_pages.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "base/unique_fd.h"

namespace weft {
namespace {

constexpr size_t kBytes = 1 << 20;

class FilePages : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = testing::TempDir() + "file_pages_XXXXXX";
    file_ = UniqueFd(mkstemp(path.data()));
    ASSERT_TRUE(file_);
    unlink(path.c_str());
    const std::string content(kBytes, 'f');
    ASSERT_EQ(write(file_.get(), content.data(), content.size()), static_cast<ssize_t>(kBytes));
    map_ = static_cast<char*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, file_.get(), 0));
    ASSERT_NE(map_, MAP_FAILED);
  }
  void TearDown() override { munmap(map_, kBytes); }

  // Touches every page.
  size_t Sum() const {
    size_t sum = 0;
    for (size_t offset = 0; offset < kBytes; offset += 4096) sum += static_cast<unsigned char>(map_[offset]);
    return sum;
  }

  UniqueFd file_;
  char* map_ = nullptr;
};

TEST_F(FilePages, GivesBackWhatWasOnlyReadAndFindsItAgain) {
  ASSERT_EQ(mprotect(map_, kBytes, PROT_READ), 0);
  const size_t before = Sum();
  const Result<size_t> released = ReleaseFilePages();
  ASSERT_TRUE(released) << released.error().what;
  EXPECT_GE(*released, kBytes);
  EXPECT_EQ(Sum(), before);
}

TEST_F(FilePages, LeavesAloneWhatWasWrittenTo) {
  map_[5] = 'w';
  ASSERT_EQ(mprotect(map_, kBytes, PROT_READ), 0);
  ASSERT_TRUE(ReleaseFilePages());
  EXPECT_EQ(map_[5], 'w');
  ASSERT_EQ(mprotect(map_, kBytes, PROT_READ | PROT_WRITE), 0);
  map_[6] = 'w';
  ASSERT_TRUE(ReleaseFilePages());
  EXPECT_EQ(map_[6], 'w');
}

}  // namespace
}  // namespace weft
