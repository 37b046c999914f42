// Any bytes as frames, in reads of any size: they are seen as they are when they come at once, and no byte twice.
#include <span>
#include <vector>

#include "fuzz/byte_source.h"
#include "fuzz/fuzz_target.h"
#include "http/frame_scan.h"

namespace {

using weft::http::FrameHead;
using weft::http::FrameScan;

struct Seen {
  std::vector<FrameHead> heads;
  // The bytes that heads ended at.
  std::vector<size_t> ends;
  bool operator==(const Seen& other) const {
    const auto same = [](const FrameHead& a, const FrameHead& b) {
      return a.length == b.length && a.type == b.type && a.flags == b.flags && a.stream == b.stream &&
             a.dependency == b.dependency;
    };
    return ends == other.ends && std::equal(heads.begin(), heads.end(), other.heads.begin(), other.heads.end(), same);
  }
  void Scan(FrameScan& scan, std::span<const uint8_t> bytes, size_t begins) {
    const size_t n = bytes.size();
    while (const std::optional<FrameHead> head = scan.Next(bytes)) {
      heads.push_back(*head);
      ends.push_back(begins + n - bytes.size());
    }
    FUZZ_CHECK(bytes.empty());
  }
};

}  // namespace

WEFT_FUZZ_TARGET("frame-scan") {
  weft::fuzz::ByteSource source(input);
  const size_t preface = source.Below(32);
  const size_t piece = 1 + source.Below(64);
  const std::span<const uint8_t> wire = source.Take(input.size());

  Seen whole, pieces;
  FrameScan at_once(preface), by_and_by(preface);
  whole.Scan(at_once, wire, 0);
  for (size_t at = 0; at < wire.size(); at += piece) {
    pieces.Scan(by_and_by, wire.subspan(at, std::min(piece, wire.size() - at)), at);
  }
  FUZZ_CHECK(whole == pieces);
  // What is between two heads is what the first one says.
  for (size_t i = 1; i < whole.ends.size(); ++i) {
    const FrameHead& before = whole.heads[i - 1];
    const size_t taken = before.dependency ? 4 : 0;
    const size_t head = weft::h2::kFrameHeaderBytes + (whole.heads[i].dependency ? 4 : 0);
    FUZZ_CHECK(whole.ends[i] - whole.ends[i - 1] == before.length - taken + head);
  }
}
