#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "http/http1_head.h"

namespace weft::http {

// Gets what a body is made of.
class BodySink {
 public:
  virtual void OnBodyBytes(std::span<const uint8_t> bytes, bool end) = 0;
  // After a chunked body: the block of trailer lines with its empty line; size 2 when there are none.
  virtual void OnTrailerBlock(std::string_view block) = 0;

 protected:
  ~BodySink() = default;
};

// Takes a body apart, in reads of any size.
class BodyReader {
 public:
  // Extensions of a chunk mean nothing to us; more than this is somebody's attempt at something.
  static constexpr size_t kMaxChunkLine = 256;
  static constexpr size_t kMaxTrailerBytes = 16 * 1024;

  void Begin(const Http1Meta& meta);
  // Takes bytes until the body ends or `bytes` do; returns how many. failed(): the framing is broken.
  size_t Feed(std::span<const uint8_t> bytes, BodySink& sink);
  bool done() const { return state_ == State::kDone; }
  bool failed() const { return state_ == State::kFailed; }
  bool until_close() const { return framing_ == Http1Framing::kUntilClose && state_ != State::kDone; }
  void Stop() { state_ = State::kDone; }

 private:
  enum class State : uint8_t { kBytes, kSizeLine, kChunk, kChunkEnd, kTrailers, kDone, kFailed };
  size_t FeedChunked(std::span<const uint8_t> bytes, BodySink& sink);
  // Collects a line that ends with CRLF; true when it is whole.
  bool TakeLine(std::span<const uint8_t>& bytes, size_t max);
  bool ParseSize();

  Http1Framing framing_ = Http1Framing::kNone;
  State state_ = State::kDone;
  uint64_t left_ = 0;
  std::string line_;
  size_t line_begin_ = 0;  // of the trailer line in line_
};

}  // namespace weft::http
