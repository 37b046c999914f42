// An HTTP/2 peer that sends whatever it likes, against the server session: nothing crashes, every stream ends exactly
// once, limits hold, and what is sent back is HTTP/2.
//
// The input is a list of steps, so that mutations reach deep states: frames with a correct length around fuzzed
// content, canned CONNECT requests, raw bytes, passing time, and what the application does.
#include "fuzz/h2_driver.h"

namespace {

using weft::fuzz::ByteSource;
using weft::fuzz::Frame;
using weft::fuzz::H2Application;
namespace h2 = weft::h2;

// `:method: CONNECT`, `:authority: a:80`, as literals.
constexpr uint8_t kConnect[] = {0x02, 0x07, 'C', 'O', 'N', 'N', 'E', 'C', 'T', 0x01, 0x04, 'a', ':', '8', '0'};

weft::H2Config ServerConfig() {
  weft::H2Config config = weft::fuzz::kSmallConfig;
  config.server = true;
  return config;
}

class Driver final : private weft::fuzz::H2Driver {
 public:
  explicit Driver(ByteSource& source) : H2Driver(source, ServerConfig()) {}

  void Run() {
    const std::string_view preface = h2::kPreface;
    if (source_.Below(16) != 0) Send({reinterpret_cast<const uint8_t*>(preface.data()), preface.size()});
    if (source_.Below(16) != 0) Send(Frame(h2::kSettings, 0, 0, {}));
    RunSteps();
  }

 private:
  void Step() override {
    const unsigned kind = source_.Below(8);
    const uint32_t stream = source_.Below(16);
    switch (kind) {
      case 0:
        return Send(source_.Take(source_.Byte()));
      case 1:
      case 2:
        return SendAnyFrame(stream);
      case 3: {
        const uint8_t flags = source_.Bool() ? h2::kEndHeaders : h2::kEndHeaders | h2::kEndStream;
        return Send(Frame(h2::kHeaders, flags, stream, kConnect));
      }
      case 4:
        return SendZeros(stream);
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
      case 1:
        return ConsumeSome(*handler);
      case 2:
        return SendSome(*handler);
      case 3:
        return Finish(*handler);
      case 4:
        return session_.Reset(handler->stream(), h2::kCancel);
    }
  }

  void Answer(H2Application::Handler& handler) {
    const bool refuse = source_.Below(4) == 0;
    const weft::HeaderField fields[] = {{":status", refuse ? "401" : "200"}};
    handler.answered_ = true;
    handler.finished_ = refuse;
    session_.Answer(handler.stream(), fields, refuse);
  }
};

}  // namespace

WEFT_FUZZ_TARGET("h2-server") {
  ByteSource source(input);
  Driver(source).Run();
}
