// An HTTP/2 peer that sends whatever it likes, against the server session: nothing crashes, every stream ends exactly
// once, limits hold, and what is sent back is HTTP/2.
//
// The input is a list of steps, so that mutations reach deep states: frames with a correct length around fuzzed
// content, canned CONNECT requests, raw bytes, passing time, and what the application does.
#include <map>
#include <memory>

#include "fuzz/byte_source.h"
#include "fuzz/fuzz_target.h"
#include "hbone/h2_session.h"

namespace {

using weft::fuzz::ByteSource;
namespace h2 = weft::h2;

// Small, so that the fuzzer meets the limits.
constexpr weft::H2Config kConfig{.server = true,
                                 .base_window = 4096,
                                 .max_window = 16384,
                                 .connection_window = 131072,
                                 .max_frame = 16384,
                                 .max_streams = 8,
                                 .max_header_list = 1024};

class Application final : public weft::H2Session::Output {
 public:
  // One accepted stream. Owned by the map until it was closed.
  class Handler final : public weft::StreamHandler {
   public:
    Handler(Application& app, weft::H2Stream& stream) : app_(app), stream_(&stream), id_(stream.id()) {}
    void OnStreamHeaders(const weft::HeaderBlock&, bool) override { FUZZ_CHECK(false); }
    void OnStreamData(std::span<const uint8_t> bytes) override {
      FUZZ_CHECK(!ended_);
      held_ += bytes.size();
      FUZZ_CHECK(held_ <= kConfig.max_window);
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

    weft::H2Stream& stream() { return *stream_; }
    size_t held_ = 0;
    bool ended_ = false;
    bool answered_ = false;
    bool finished_ = false;

   private:
    Application& app_;
    weft::H2Stream* stream_;
    uint32_t id_;
  };

  void OnFrames(std::span<const uint8_t> bytes) override { CheckFrames(bytes); }
  size_t SendRoom() override { return 65536; }
  void OnRequest(weft::H2Stream& stream, weft::HeaderBlock, bool) override {
    FUZZ_CHECK(stream.id() % 2 == 1);
    FUZZ_CHECK(!handlers_.contains(stream.id()));
    auto handler = std::make_unique<Handler>(*this, stream);
    stream.set_handler(handler.get());
    handlers_.emplace(stream.id(), std::move(handler));
    FUZZ_CHECK(handlers_.size() <= kConfig.max_streams);
  }
  void OnCapacityChanged() override {}
  void OnPingAck(uint64_t) override {}

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
  static void CheckFrames(std::span<const uint8_t> bytes) {
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

  std::map<uint32_t, std::unique_ptr<Handler>> handlers_;
  std::vector<std::unique_ptr<Handler>> closed_;
};

std::vector<uint8_t> Frame(uint8_t type, uint8_t flags, uint32_t stream, std::span<const uint8_t> payload) {
  std::vector<uint8_t> frame(h2::kFrameHeaderBytes);
  h2::WriteFrameHeader(frame.data(), {static_cast<uint32_t>(payload.size()), type, flags, stream});
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

// `:method: CONNECT`, `:authority: a:80`, as literals.
constexpr uint8_t kConnect[] = {0x02, 0x07, 'C', 'O', 'N', 'N', 'E', 'C', 'T', 0x01, 0x04, 'a', ':', '8', '0'};

class Driver {
 public:
  explicit Driver(ByteSource& source) : source_(source), session_(kConfig, app_) { session_.Start(); }

  void Run() {
    const std::string_view preface = h2::kPreface;
    if (source_.Below(16) != 0) Send({reinterpret_cast<const uint8_t*>(preface.data()), preface.size()});
    if (source_.Below(16) != 0) Send(Frame(h2::kSettings, 0, 0, {}));
    while (!source_.done() && alive_) {
      Step();
      app_.Sweep();
    }
    session_.CloseAll(h2::kCancel, false);
    FUZZ_CHECK(app_.empty());
    FUZZ_CHECK(session_.open_streams() == 0);
  }

 private:
  void Step() {
    const unsigned kind = source_.Below(8);
    const uint32_t stream = source_.Below(16);
    switch (kind) {
      case 0:
        return Send(source_.Take(source_.Byte()));
      case 1:
      case 2: {
        const uint8_t type = static_cast<uint8_t>(source_.Below(11));
        const uint8_t flags = source_.Byte();
        return Send(Frame(type, flags, stream, source_.Take(source_.Byte())));
      }
      case 3: {
        const uint8_t flags = source_.Bool() ? h2::kEndHeaders : h2::kEndHeaders | h2::kEndStream;
        return Send(Frame(h2::kHeaders, flags, stream, kConnect));
      }
      case 4: {
        const std::vector<uint8_t> payload(static_cast<size_t>(source_.Byte()) * 17);
        return Send(Frame(h2::kData, source_.Below(4) == 0 ? h2::kEndStream : 0, stream, payload));
      }
      case 5:
        now_ms_ += source_.Byte();
        return;
      default:
        return Act(stream);
    }
  }

  void Act(unsigned which) {
    auto* handler = app_.Pick(which);
    const unsigned action = source_.Below(6);
    if (action == 5) return session_.SendPing(which);
    if (handler == nullptr) return;
    switch (action) {
      case 0:
        if (!handler->answered_) Answer(*handler);
        return;
      case 1: {
        const size_t n = std::min<size_t>(handler->held_, source_.Byte() * 16);
        handler->held_ -= n;
        return session_.Consume(handler->stream(), n);
      }
      case 2:
        if (handler->answered_ && !handler->finished_) SendSome(*handler);
        return;
      case 3:
        if (!handler->answered_ || handler->finished_) return;
        handler->finished_ = true;
        return session_.SendEnd(handler->stream());
      case 4:
        return session_.Reset(handler->stream(), h2::kCancel);
    }
  }

  void Answer(Application::Handler& handler) {
    const bool refuse = source_.Below(4) == 0;
    const weft::HeaderField fields[] = {{":status", refuse ? "401" : "200"}};
    handler.answered_ = true;
    handler.finished_ = refuse;
    session_.Answer(handler.stream(), fields, refuse);
  }

  void SendSome(Application::Handler& handler) {
    const size_t n = std::min<size_t>({session_.SendBudget(handler.stream()), session_.max_send_frame(), 512});
    if (n == 0) return;
    std::vector<uint8_t> frames(h2::kFrameHeaderBytes + n);
    session_.SendData(handler.stream(), frames.data(), n, n);
  }

  void Send(std::span<const uint8_t> bytes) {
    // Split at a fuzzed place: frames arrive in pieces.
    const size_t cut = bytes.empty() ? 0 : source_.Byte() % (bytes.size() + 1);
    for (const auto part : {bytes.first(cut), bytes.subspan(cut)}) {
      if (!alive_) return;
      alive_ = session_.Receive(part, now_ms_);
      FUZZ_CHECK(alive_ == !session_.failed());
    }
  }

  ByteSource& source_;
  Application app_;
  weft::H2Session session_;
  uint64_t now_ms_ = 1000;
  bool alive_ = true;
};

}  // namespace

WEFT_FUZZ_TARGET("h2-server") {
  ByteSource source(input);
  Driver(source).Run();
}
