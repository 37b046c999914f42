#pragma once

// What the two HTTP/2 targets share: an application that keeps count of its streams and of the bytes it holds, and
// checks that what the session sends is HTTP/2.

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "fuzz/fuzz_target.h"
#include "hbone/h2_session.h"

namespace weft::fuzz {

// Small, so that the fuzzer meets the limits.
inline constexpr H2Config kSmallConfig{.server = false,
                                       .base_window = 4096,
                                       .max_window = 16384,
                                       .connection_window = 131072,
                                       .max_frame = 16384,
                                       .max_streams = 8,
                                       .max_header_list = 1024};

class H2Application final : public H2Session::Output {
 public:
  // One accepted stream. Owned by the map until it was closed.
  class Handler final : public StreamHandler {
   public:
    explicit Handler(H2Application& app) : app_(app) {}
    void OnStreamHeaders(const HeaderBlock&, bool) override {
      FUZZ_CHECK(app_.client_ && !answered_);
      answered_ = true;
    }
    void OnStreamData(std::span<const uint8_t> bytes) override {
      FUZZ_CHECK(!ended_);
      FUZZ_CHECK(!app_.client_ || answered_);  // nothing before the answer
      held_ += bytes.size();
      FUZZ_CHECK(held_ <= kSmallConfig.max_window);
    }
    void OnStreamEnd() override {
      FUZZ_CHECK(!ended_);
      ended_ = true;
    }
    void OnStreamWritable() override {}
    void OnStreamClosed(uint32_t, bool) override {
      FUZZ_CHECK(app_.handlers_.contains(id_));
      app_.closed_.push_back(std::move(app_.handlers_[id_]));
      app_.handlers_.erase(id_);
    }

    H2Stream& stream() { return *stream_; }
    void Bind(H2Stream& stream) {
      stream_ = &stream;
      id_ = stream.id();
    }
    size_t held_ = 0;
    bool ended_ = false;
    bool answered_ = false;
    bool finished_ = false;

   private:
    H2Application& app_;
    H2Stream* stream_ = nullptr;
    uint32_t id_ = 0;
  };

  explicit H2Application(bool client) : client_(client) {}

  void OnFrames(std::span<const uint8_t> bytes) override { CheckFrames(bytes); }
  size_t SendRoom() override { return 65536; }
  void OnRequest(H2Stream& stream, HeaderBlock, bool) override {
    FUZZ_CHECK(!client_ && stream.id() % 2 == 1);
    auto handler = std::make_unique<Handler>(*this);
    stream.set_handler(handler.get());
    Adopt(std::move(handler), stream);
    FUZZ_CHECK(handlers_.size() <= kSmallConfig.max_streams);
  }
  void OnCapacityChanged() override {}
  void OnPingAck(uint64_t) override {}

  void Adopt(std::unique_ptr<Handler> handler, H2Stream& stream) {
    handler->Bind(stream);
    FUZZ_CHECK(handlers_.emplace(stream.id(), std::move(handler)).second);
  }
  Handler* Pick(unsigned n) {
    if (handlers_.empty()) return nullptr;
    auto at = handlers_.begin();
    std::advance(at, n % handlers_.size());
    return at->second.get();
  }
  // Closed handlers go only between calls into the session.
  void Sweep() { closed_.clear(); }
  bool empty() const { return handlers_.empty(); }

 private:
  // Output is whole frames of sane type and size.
  void CheckFrames(std::span<const uint8_t> bytes) {
    if (client_ && !std::exchange(preface_seen_, true)) {
      FUZZ_CHECK(bytes.size() == h2::kPrefaceBytes);
      return;
    }
    while (!bytes.empty()) {
      FUZZ_CHECK(bytes.size() >= h2::kFrameHeaderBytes);
      const h2::FrameHeader header = h2::ReadFrameHeader(bytes.data());
      FUZZ_CHECK(header.type <= h2::kContinuation);
      FUZZ_CHECK(header.length <= h2::kMaxMaxFrame);
      bytes = bytes.subspan(h2::kFrameHeaderBytes);
      FUZZ_CHECK(bytes.size() >= header.length);
      bytes = bytes.subspan(header.length);
    }
  }

  bool client_;
  bool preface_seen_ = false;
  std::map<uint32_t, std::unique_ptr<Handler>> handlers_;
  std::vector<std::unique_ptr<Handler>> closed_;
};

inline std::vector<uint8_t> Frame(uint8_t type, uint8_t flags, uint32_t stream, std::span<const uint8_t> payload) {
  std::vector<uint8_t> frame(h2::kFrameHeaderBytes);
  h2::WriteFrameHeader(frame.data(), {static_cast<uint32_t>(payload.size()), type, flags, stream});
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

}  // namespace weft::fuzz
