#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "hbone/frame.h"

namespace weft::http {

// What a frame says before its payload.
struct FrameHead : h2::FrameHeader {
  // PRIORITY alone: the stream that this one is to depend on.
  std::optional<uint32_t> dependency;
};

// Finds the frames in the bytes of one direction of an HTTP/2 connection. nghttp2 says nothing of frames that it throws
// away: DATA on streams that it has forgotten, PRIORITY. What they break, and what a flood of them costs, is seen here.
// Looks at nine bytes of a frame and steps over the rest.
class FrameScan {
 public:
  // `preface`: bytes before the first frame.
  explicit FrameScan(size_t preface) : skip_(preface) {}

  // The next frame whose head ends within `bytes`, which are taken as far as that; none: all are taken.
  std::optional<FrameHead> Next(std::span<const uint8_t>& bytes);

 private:
  static constexpr size_t kDependencyBytes = 4;

  bool Take(std::span<const uint8_t>& bytes, size_t until);

  uint64_t skip_;
  size_t have_ = 0;  // of a head that came in pieces
  std::array<uint8_t, h2::kFrameHeaderBytes + kDependencyBytes> head_{};
};

}  // namespace weft::http
