#pragma once

// What the two targets of the L7 engine's HTTP/2 share: a connection in memory, and steps of a peer in its loop.

#include <functional>
#include <memory>
#include <vector>

#include "fuzz/byte_source.h"
#include "fuzz/fuzz_target.h"
#include "hbone/frame.h"
#include "http/codec.h"
#include "memory_stream.h"

namespace weft::fuzz {

class Http2Peer {
 public:
  void Run() {
    std::function<void()> step = [&] {
      peer_->Written();
      if (source_.done()) {
        End();
        return loop_->Stop();
      }
      Step();
      loop_->Post(step);
    };
    loop_->Post(step);
    loop_->Run();
  }

 protected:
  explicit Http2Peer(ByteSource& source) : source_(source), loop_(std::move(*EpollLoop::Create())), context_(*loop_) {}
  ~Http2Peer() = default;
  virtual void Step() = 0;
  virtual void End() = 0;

  std::unique_ptr<ByteStream> MakePeer() {
    auto stream = std::make_unique<test::MemoryStream>(context_);
    peer_ = stream.get();
    return stream;
  }
  void Say(uint8_t type, uint8_t flags, uint32_t stream, std::span<const uint8_t> payload) {
    std::vector<uint8_t> frame(h2::kFrameHeaderBytes);
    h2::WriteFrameHeader(frame.data(), {static_cast<uint32_t>(payload.size()), type, flags, stream});
    frame.insert(frame.end(), payload.begin(), payload.end());
    peer_->Say(frame);
  }
  void SayAnyFrame(uint32_t stream) {
    const auto type = static_cast<uint8_t>(source_.Below(11));
    const uint8_t flags = source_.Byte();
    Say(type, flags, stream, source_.Take(source_.Byte()));
  }

  ByteSource& source_;
  std::unique_ptr<EpollLoop> loop_;
  LoopContext context_;
  test::MemoryStream* peer_ = nullptr;
};

}  // namespace weft::fuzz
