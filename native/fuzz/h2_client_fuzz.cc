// An HTTP/2 server that sends whatever it likes, against the client session that our outbound tunnels use: nothing
// crashes, every stream ends exactly once, limits hold, and what is sent is HTTP/2.
#include "fuzz/byte_source.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/h2_application.h"

namespace {

using weft::fuzz::ByteSource;
using weft::fuzz::Frame;
using weft::fuzz::H2Application;
namespace h2 = weft::h2;

constexpr uint8_t kStatus200[] = {0x88};

class Driver {
 public:
  explicit Driver(ByteSource& source) : source_(source), session_(weft::fuzz::kSmallConfig, app_) { session_.Start(); }

  void Run() {
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
      case 1: {
        const uint8_t type = static_cast<uint8_t>(source_.Below(11));
        const uint8_t flags = source_.Byte();
        return Send(Frame(type, flags, stream, source_.Take(source_.Byte())));
      }
      case 2: {
        const uint8_t flags = source_.Below(4) != 0 ? h2::kEndHeaders : h2::kEndHeaders | h2::kEndStream;
        return Send(Frame(h2::kHeaders, flags, stream, kStatus200));
      }
      case 3: {
        const std::vector<uint8_t> payload(static_cast<size_t>(source_.Byte()) * 17);
        return Send(Frame(h2::kData, source_.Below(4) == 0 ? h2::kEndStream : 0, stream, payload));
      }
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
      case 0: {
        const size_t n = std::min<size_t>(handler->held_, source_.Byte() * 16);
        handler->held_ -= n;
        return session_.Consume(handler->stream(), n);
      }
      case 1: {
        if (!handler->answered_ || handler->finished_) return;
        const size_t n = std::min<size_t>({session_.SendBudget(handler->stream()), session_.max_send_frame(), 512});
        if (n == 0) return;
        std::vector<uint8_t> frames(h2::kFrameHeaderBytes + n);
        return session_.SendData(handler->stream(), frames.data(), n, n);
      }
      case 2:
        if (!handler->answered_ || handler->finished_) return;
        handler->finished_ = true;
        return session_.SendEnd(handler->stream());
      default:
        return session_.Reset(handler->stream(), h2::kCancel);
    }
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
  H2Application app_{/*client=*/true};
  weft::H2Session session_;
  uint64_t now_ms_ = 1000;
  bool alive_ = true;
};

}  // namespace

WEFT_FUZZ_TARGET("h2-client") {
  ByteSource source(input);
  Driver(source).Run();
}
