#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "loop/loop_context.h"
#include "net/byte_stream.h"

namespace weft::test {

// A stream in memory: what the codec writes is kept, what it reads is said.
class MemoryStream final : public ByteStream {
 public:
  explicit MemoryStream(LoopContext& context) : out_(context.buffers) {}
  Status Begin() override { return Ok{}; }
  void Write(std::span<const uint8_t> bytes) override { out_.Append(bytes); }
  Buffer& out() override { return out_; }
  void WriteSoon() override {}
  size_t WriteRoom() const override { return 1 << 16; }
  void PauseReads() override { paused = true; }
  void ResumeReads() override { paused = false; }
  void FinishWrites() override { finished = true; }
  void Close() override { closed = true; }
  void Abort() override {
    aborted = true;
    handler_ = nullptr;
  }

  // The peer's part; nothing once the stream was aborted.
  void Say(std::string_view text) {
    if (handler_ != nullptr) handler_->OnBytes({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  void Say(std::span<const uint8_t> bytes) { Say({reinterpret_cast<const char*>(bytes.data()), bytes.size()}); }
  void SayEnd() {
    if (handler_ != nullptr) handler_->OnReadEnd();
  }
  void Break(StreamEnd end) {
    if (handler_ != nullptr) handler_->OnStreamDown(end, "broken");
  }
  std::string Written() {
    std::string text(reinterpret_cast<const char*>(out_.data()), out_.size());
    out_.Clear();
    return text;
  }
  bool paused = false, finished = false, closed = false, aborted = false;

 private:
  Buffer out_;
};

}  // namespace weft::test
