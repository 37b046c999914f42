#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/buffer.h"
#include "loop/epoll_loop.h"

namespace weft {

// What everything on one loop shares. The scratch blocks are used within one call chain and hold nothing between
// turns, so an idle connection needs no buffer of its own.
struct LoopContext {
  // Received ciphertext; large enough for many TLS records per system call.
  static constexpr size_t kWireBytes = 256 * 1024;
  // Read from an application, with room for frame headers between the slices.
  static constexpr size_t kAppBytes = 128 * 1024;

  explicit LoopContext(EpollLoop& epoll_loop)
      : loop(epoll_loop),
        wire(new uint8_t[kWireBytes]),
        app(new uint8_t[kAppBytes]),
        trim_timer_([this] { buffers.Trim(); }) {}

  // Gives back soon what the pool keeps; busy loops pay one refill per period.
  void TrimLater() {
    if (buffers.kept() > 0 && !trim_timer_.armed()) loop.Arm(trim_timer_, kTrimMs);
  }

  EpollLoop& loop;
  BufferPool buffers;
  std::unique_ptr<uint8_t[]> wire;
  std::unique_ptr<uint8_t[]> app;

 private:
  static constexpr uint64_t kTrimMs = 5'000;
  Timer trim_timer_;
};

}  // namespace weft
