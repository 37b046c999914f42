// An HTTP/2 peer that sends whatever it likes, against the server session: nothing crashes, every stream ends exactly
// once, limits hold, and what is sent back is HTTP/2.
//
// The input is a list of steps, so that mutations reach deep states: frames with a correct length around fuzzed
// content, canned CONNECT requests, raw bytes, passing time, and what the application does.
#include "fuzz/byte_source.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/h2_application.h"

namespace {

using weft::fuzz::ByteSource;
namespace h2 = weft::h2;

using weft::fuzz::Frame;

// `:method: CONNECT`, `:authority: a:80`, as literals.
constexpr uint8_t kConnect[] = {0x02, 0x07, 'C', 'O', 'N', 'N', 'E', 'C', 'T', 0x01, 0x04, 'a', ':', '8', '0'};

class Driver {
 public:
  explicit Driver(ByteSource& source) : source_(source), session_(Config(), app_) { session_.Start(); }

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
  static weft::H2Config Config() {
    weft::H2Config config = weft::fuzz::kSmallConfig;
    config.server = true;
    return config;
  }

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

  void Answer(weft::fuzz::H2Application::Handler& handler) {
    const bool refuse = source_.Below(4) == 0;
    const weft::HeaderField fields[] = {{":status", refuse ? "401" : "200"}};
    handler.answered_ = true;
    handler.finished_ = refuse;
    session_.Answer(handler.stream(), fields, refuse);
  }

  void SendSome(weft::fuzz::H2Application::Handler& handler) {
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
  weft::fuzz::H2Application app_{/*client=*/false};
  weft::H2Session session_;
  uint64_t now_ms_ = 1000;
  bool alive_ = true;
};

}  // namespace

WEFT_FUZZ_TARGET("h2-server") {
  ByteSource source(input);
  Driver(source).Run();
}
