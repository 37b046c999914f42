// An HTTP/2 server that sends whatever it likes, against the client session that our outbound tunnels use: nothing
// crashes, every stream ends exactly once, limits hold, and what is sent is HTTP/2.
#include "fuzz/h2_driver.h"

namespace {

using weft::fuzz::ByteSource;
using weft::fuzz::Frame;
using weft::fuzz::H2Application;
namespace h2 = weft::h2;

constexpr uint8_t kStatus200[] = {0x88};

class Driver final : private weft::fuzz::H2Driver {
 public:
  explicit Driver(ByteSource& source) : H2Driver(source, weft::fuzz::kSmallConfig) {}

  void Run() {
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
        return SendAnyFrame(stream);
      case 2: {
        const uint8_t flags = source_.Below(4) != 0 ? h2::kEndHeaders : h2::kEndHeaders | h2::kEndStream;
        return Send(Frame(h2::kHeaders, flags, stream, kStatus200));
      }
      case 3:
        return SendZeros(stream);
      case 4:
      case 5:
        return Open();
      case 6:
        now_ms_ += source_.Byte();
        return;
      default:
        return Act(stream);
    }
  }

  void Open() {
    const weft::HeaderField fields[] = {{":method", "CONNECT"}, {":authority", "a:80"}};
    auto handler = std::make_unique<H2Application::Handler>(app_);
    const bool can = session_.CanOpen();
    weft::H2Stream* stream = session_.Open(fields, handler.get());
    FUZZ_CHECK(can == (stream != nullptr));
    if (stream != nullptr) app_.Adopt(std::move(handler), *stream);
  }

  void Act(unsigned which) {
    auto* handler = app_.Pick(which);
    if (handler == nullptr) return;
    switch (source_.Below(4)) {
      case 0:
        return ConsumeSome(*handler);
      case 1:
        return SendSome(*handler);
      case 2:
        return Finish(*handler);
      default:
        return session_.Reset(handler->stream(), h2::kCancel);
    }
  }
};

}  // namespace

WEFT_FUZZ_TARGET("h2-client") {
  ByteSource source(input);
  Driver(source).Run();
}
