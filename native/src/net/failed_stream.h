#pragma once

#include <string>

#include "loop/loop_context.h"
#include "net/byte_stream.h"

namespace weft {

// A stream that was never to be had: says why in the turn after it was begun, as any that cannot be connected.
class FailedStream final : public ByteStream {
 public:
  FailedStream(LoopContext& context, const SocketAddress& remote, StreamEnd end, std::string detail);

  Status Begin() override;
  void Write(std::span<const uint8_t>) override {}
  Buffer& out() override { return out_; }
  void WriteSoon() override { out_.Clear(); }
  size_t WriteRoom() const override { return 0; }
  void PauseReads() override {}
  void ResumeReads() override {}
  void FinishWrites() override {}
  void Close() override {}
  void Abort() override { report_task_.Cancel(); }

 private:
  LoopContext& context_;
  StreamEnd end_;
  std::string detail_;
  Buffer out_;
  TurnTask report_task_;
};

}  // namespace weft
