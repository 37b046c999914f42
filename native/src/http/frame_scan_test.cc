#include "http/frame_scan.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weft::http {
namespace {

std::vector<uint8_t> Frame(const h2::FrameHeader& header, std::vector<uint8_t> payload = {}) {
  std::vector<uint8_t> frame(h2::kFrameHeaderBytes);
  h2::WriteFrameHeader(frame.data(), header);
  payload.resize(header.length);
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

// "type:stream:length" of each frame, with ">dependency" if there is one. `piece`: how much comes at a time.
std::string Seen(FrameScan scan, const std::vector<uint8_t>& wire, size_t piece) {
  std::string seen;
  for (size_t at = 0; at < wire.size(); at += piece) {
    std::span<const uint8_t> bytes = std::span(wire).subspan(at, std::min(piece, wire.size() - at));
    while (const std::optional<FrameHead> head = scan.Next(bytes)) {
      seen += std::to_string(head->type) + ":" + std::to_string(head->stream) + ":" + std::to_string(head->length);
      if (head->dependency) seen += ">" + std::to_string(*head->dependency);
      seen += " ";
    }
    EXPECT_TRUE(bytes.empty());
  }
  return seen;
}

TEST(FrameScanTest, SeesEachFrameHoweverItIsCut) {
  std::vector<uint8_t> wire(h2::kPrefaceBytes, 'x');
  for (const auto& frame : {Frame({0, h2::kSettings, 0, 0}), Frame({20, h2::kHeaders, h2::kEndHeaders, 1}),
                            Frame({5, h2::kPriority, 0, 3}, {0x80, 0, 0, 7, 1}), Frame({3, h2::kPriority, 0, 5}),
                            Frame({4, h2::kPriority, 0, 9}, {0, 0, 0, 9}), Frame({70'000, h2::kData, 0, 1}),
                            Frame({0, h2::kData, h2::kEndStream, 0x7fffffff})}) {
    wire.insert(wire.end(), frame.begin(), frame.end());
  }
  for (const size_t piece :
       {size_t{1}, size_t{2}, size_t{8}, size_t{9}, size_t{13}, size_t{14}, size_t{1000}, wire.size()}) {
    EXPECT_EQ(Seen(FrameScan(h2::kPrefaceBytes), wire, piece),
              "4:0:0 1:1:20 2:3:5>7 2:5:3 2:9:4>9 0:1:70000 0:2147483647:0 ")
        << piece;
  }
}

TEST(FrameScanTest, LeavesWhatIsBehindTheHead) {
  const std::vector<uint8_t> wire = Frame({4, h2::kRstStream, 0, 1});
  FrameScan scan(0);
  std::span<const uint8_t> bytes = wire;
  EXPECT_TRUE(scan.Next(bytes).has_value());
  EXPECT_EQ(bytes.size(), 4u);
  EXPECT_FALSE(scan.Next(bytes).has_value());
  EXPECT_TRUE(bytes.empty());
}

}  // namespace
}  // namespace weft::http
