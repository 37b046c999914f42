#pragma once

// What the two HTTP/2 targets share: a session, its application, and a run of fuzzed steps.

#include "fuzz/byte_source.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/h2_application.h"

namespace weft::fuzz {

class H2Driver {
 protected:
  H2Driver(ByteSource& source, const H2Config& config)
      : source_(source), app_(/*client=*/!config.server), session_(config, app_) {
    session_.Start();
  }
  ~H2Driver() = default;

  void RunSteps() {
    while (!source_.done() && alive_) {
      Step();
      app_.Sweep();
    }
    session_.CloseAll(h2::kCancel, false);
    FUZZ_CHECK(app_.empty());
    FUZZ_CHECK(session_.open_streams() == 0);
  }
  virtual void Step() = 0;

  void Send(std::span<const uint8_t> bytes) {
    // Split at a fuzzed place: frames arrive in pieces.
    const size_t cut = bytes.empty() ? 0 : source_.Byte() % (bytes.size() + 1);
    for (const auto part : {bytes.first(cut), bytes.subspan(cut)}) {
      if (!alive_) return;
      alive_ = session_.Receive(part, now_ms_);
      FUZZ_CHECK(alive_ == !session_.failed());
    }
  }
  // A frame of correct length around fuzzed content.
  void SendAnyFrame(uint32_t stream) {
    const auto type = static_cast<uint8_t>(source_.Below(11));
    const uint8_t flags = source_.Byte();
    Send(Frame(type, flags, stream, source_.Take(source_.Byte())));
  }
  void SendZeros(uint32_t stream) {
    const std::vector<uint8_t> payload(static_cast<size_t>(source_.Byte()) * 17);
    Send(Frame(h2::kData, source_.Below(4) == 0 ? h2::kEndStream : 0, stream, payload));
  }

  // What an application does with a stream.
  void ConsumeSome(H2Application::Handler& handler) {
    const size_t n = std::min<size_t>(handler.held_, source_.Byte() * 16);
    handler.held_ -= n;
    session_.Consume(handler.stream(), n);
  }
  void SendSome(H2Application::Handler& handler) {
    if (!handler.answered_ || handler.finished_) return;
    const size_t n = std::min<size_t>({session_.SendBudget(handler.stream()), session_.max_send_frame(), 512});
    if (n == 0) return;
    std::vector<uint8_t> frames(h2::kFrameHeaderBytes + n);
    session_.SendData(handler.stream(), frames.data(), n, n);
  }
  void Finish(H2Application::Handler& handler) {
    if (!handler.answered_ || handler.finished_) return;
    handler.finished_ = true;
    session_.SendEnd(handler.stream());
  }

  ByteSource& source_;
  H2Application app_;
  H2Session session_;
  uint64_t now_ms_ = 1000;
  bool alive_ = true;
};

}  // namespace weft::fuzz
