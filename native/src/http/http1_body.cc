#include "http/http1_body.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace weft::http {

void BodyReader::Begin(const Http1Meta& meta) {
  framing_ = meta.framing;
  left_ = meta.length;
  line_.clear();
  line_begin_ = 0;
  switch (framing_) {
    case Http1Framing::kNone:
      state_ = State::kDone;
      break;
    case Http1Framing::kChunked:
      state_ = State::kSizeLine;
      break;
    default:
      state_ = State::kBytes;
      break;
  }
}

size_t BodyReader::Feed(std::span<const uint8_t> bytes, BodySink& sink) {
  if (framing_ == Http1Framing::kChunked) return FeedChunked(bytes, sink);
  if (state_ != State::kBytes) return 0;
  if (framing_ == Http1Framing::kUntilClose) {
    sink.OnBodyBytes(bytes, false);
    return bytes.size();
  }
  const size_t n = static_cast<size_t>(std::min<uint64_t>(left_, bytes.size()));
  left_ -= n;
  if (left_ == 0) state_ = State::kDone;
  if (n > 0) sink.OnBodyBytes(bytes.first(n), left_ == 0);
  return n;
}

bool BodyReader::TakeLine(std::span<const uint8_t>& bytes, size_t max) {
  const auto* newline = static_cast<const uint8_t*>(std::memchr(bytes.data(), '\n', bytes.size()));
  const size_t n = newline == nullptr ? bytes.size() : static_cast<size_t>(newline - bytes.data()) + 1;
  if (line_.size() + n > max) {
    state_ = State::kFailed;
    return false;
  }
  line_.append(reinterpret_cast<const char*>(bytes.data()), n);
  bytes = bytes.subspan(n);
  if (newline == nullptr) return false;
  if (line_.size() < 2 || line_[line_.size() - 2] != '\r') {
    state_ = State::kFailed;
    return false;
  }
  return true;
}

// Hexadecimal digits, then nothing or an extension.
bool BodyReader::ParseSize() {
  uint64_t size = 0;
  size_t digits = 0;
  for (; digits < line_.size(); ++digits) {
    const char c = line_[digits];
    const int value = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (value < 0) break;
    size = size << 4 | static_cast<uint64_t>(value);
  }
  if (digits == 0 || digits > 15) return false;
  const std::string_view rest = std::string_view(line_).substr(digits, line_.size() - digits - 2);
  const bool extension = !rest.empty() && rest.front() == ';';
  const bool clean = std::ranges::none_of(
      rest, [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; });
  if ((!rest.empty() && !extension) || !clean) return false;
  left_ = size;
  return true;
}

size_t BodyReader::FeedChunked(std::span<const uint8_t> bytes, BodySink& sink) {
  const size_t total = bytes.size();
  while (!bytes.empty() && state_ != State::kDone && state_ != State::kFailed) {
    switch (state_) {
      case State::kSizeLine:
        if (!TakeLine(bytes, kMaxChunkLine)) break;
        if (!ParseSize()) {
          state_ = State::kFailed;
          break;
        }
        line_.clear();
        state_ = left_ > 0 ? State::kChunk : State::kTrailers;
        break;
      case State::kChunk: {
        const size_t n = static_cast<size_t>(std::min<uint64_t>(left_, bytes.size()));
        const std::span<const uint8_t> part = bytes.first(n);
        bytes = bytes.subspan(n);
        left_ -= n;
        if (left_ == 0) state_ = State::kChunkEnd;
        sink.OnBodyBytes(part, false);
        break;
      }
      case State::kChunkEnd:
        if (!TakeLine(bytes, 2)) break;
        line_.clear();
        state_ = State::kSizeLine;
        break;
      case State::kTrailers: {
        if (!TakeLine(bytes, kMaxTrailerBytes)) break;
        // The empty line ends them, in however many reads it came.
        if (line_.size() - std::exchange(line_begin_, line_.size()) > 2) break;
        state_ = State::kDone;
        sink.OnTrailerBlock(line_);
        break;
      }
      default:
        break;
    }
  }
  return total - bytes.size();
}

}  // namespace weft::http
