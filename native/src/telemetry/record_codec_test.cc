#include "telemetry/record_codec.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "telemetry/hex.h"
#include "telemetry/test_record.h"

namespace weft::telemetry {
namespace {

std::string Hex(const std::vector<uint8_t>& bytes) {
  std::string text(bytes.size() * 2, '0');
  WriteHex(bytes, text.data());
  return text;
}

// Both sides of the border read it: a change of the layout changes this file and records.test.ts together.
std::string Golden(const std::string& name) {
  std::ifstream file(std::string(WEFT_GOLDEN) + "/" + name);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::erase(text, '\n');
  return text;
}

TEST(RecordCodecTest, ARecordIsEncodedAsTypeScriptExpectsIt) {
  const TestRequest request;
  std::vector<uint8_t> bytes;
  EncodeRecord(request.record, bytes);
  EXPECT_EQ(Hex(bytes), Golden("request-record.hex"));
}

TEST(RecordCodecTest, AnEmptyRecordIsEncodedAsTypeScriptExpectsIt) {
  std::vector<uint8_t> bytes;
  EncodeRecord(l7::RequestRecord(), bytes);
  EXPECT_EQ(Hex(bytes), Golden("empty-record.hex"));
}

TEST(RecordCodecTest, LongTextsAreCut) {
  const std::string path(100'000, 'x');
  TestRequest request;
  request.record.path = path;
  std::vector<uint8_t> bytes;
  EncodeRecord(request.record, bytes);
  EXPECT_LT(bytes.size(), kMaxTextBytes + 2'000);
}

TEST(RecordCodecTest, RecordsFollowEachOther) {
  const TestRequest request;
  std::vector<uint8_t> once, twice;
  EncodeRecord(request.record, once);
  EncodeRecord(request.record, twice);
  EncodeRecord(request.record, twice);
  EXPECT_EQ(std::vector<uint8_t>(twice.begin() + static_cast<ptrdiff_t>(once.size()), twice.end()), once);
}

}  // namespace
}  // namespace weft::telemetry
