#include "http/frame_scan.h"

#include <algorithm>

namespace weft::http {

std::optional<FrameHead> FrameScan::Next(std::span<const uint8_t>& bytes) {
  const size_t skipped = std::min<uint64_t>(skip_, bytes.size());
  bytes = bytes.subspan(skipped);
  skip_ -= skipped;
  if (skip_ > 0 || !Take(bytes, h2::kFrameHeaderBytes)) return std::nullopt;

  FrameHead head{h2::ReadFrameHeader(head_.data()), {}};
  if (head.type == h2::kPriority && head.length >= kDependencyBytes) {
    if (!Take(bytes, head_.size())) return std::nullopt;
    head.dependency = h2::ReadU32(&head_[h2::kFrameHeaderBytes]) & h2::kMaxStreamId;
  }
  skip_ = head.length - (have_ - h2::kFrameHeaderBytes);
  have_ = 0;
  return head;
}

bool FrameScan::Take(std::span<const uint8_t>& bytes, size_t until) {
  if (have_ >= until) return true;
  const size_t n = std::min(until - have_, bytes.size());
  std::copy_n(bytes.begin(), n, head_.begin() + static_cast<std::ptrdiff_t>(have_));
  bytes = bytes.subspan(n);
  have_ += n;
  return have_ == until;
}

}  // namespace weft::http
