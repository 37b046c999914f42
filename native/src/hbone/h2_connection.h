#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/buffer.h"
#include "base/unique_fd.h"
#include "hbone/h2_session.h"
#include "loop/epoll_loop.h"
#include "loop/loop_context.h"
#include "tls/tls_conn.h"

namespace weft {

// Deadlines of one tunnel connection, shorter in tests.
struct TunnelTimeouts {
  // TCP connect; ambient's 10 s.
  uint64_t connect_ms = 10'000;
  // TLS and the first SETTINGS, so that half-open peers cost a bounded time.
  uint64_t handshake_ms = 10'000;
  // h2 PING; also what ends a peer that feeds us a byte a second.
  uint64_t ping_interval_ms = 10'000;
  uint64_t ping_timeout_ms = 20'000;
};

// One HBONE connection: socket, TLS and HTTP/2 session. Lives on one loop. Its owner keeps it until OnDown and then
// hands it to EpollLoop::Retire.
class H2Connection final : private IoHandler, private H2Session::Output, private PlainSink {
 public:
  // Output that waits for the socket before streams stop reading their applications: several round trips within a
  // node, and small enough for hundreds of tunnels.
  static constexpr size_t kOutputHigh = 256 * 1024;
  // Control frames that a peer makes us queue without reading them.
  static constexpr size_t kOutputHardLimit = 4 * kOutputHigh;
  // Frames up to this size are collected into one TLS record per turn.
  static constexpr size_t kStageBytes = 2048;

  class Owner {
   public:
    // TLS is verified and streams may be opened.
    virtual void OnUp(H2Connection& connection) = 0;
    virtual void OnRequest(H2Connection& connection, H2Stream& stream, HeaderBlock headers, bool end) = 0;
    virtual void OnCapacityChanged(H2Connection& connection) = 0;
    // A batch of OnStreamData has been delivered; its spans end here.
    virtual void OnBatchEnd() = 0;
    // The last call. All streams were closed before, with down_reason() set.
    virtual void OnDown(H2Connection& connection) = 0;

   protected:
    ~Owner() = default;
  };

  // `connected`: false for a client socket whose connect() is in progress.
  H2Connection(LoopContext& context, Owner& owner, UniqueFd fd, std::unique_ptr<TlsConn> tls, const H2Config& config,
               const TunnelTimeouts& timeouts, bool connected);
  ~H2Connection();

  Status Begin();
  // GOAWAY at once, close when the last stream has ended. In the middle of a handshake: as soon as that is over, since
  // a peer that is cut off there must fail whoever waits for it.
  void Drain();
  // Ends now. Streams see kInternalError.
  void Abort(weft_reason reason, std::string detail);

  bool up() const { return state_ == State::kUp; }
  bool down() const { return state_ == State::kDown; }
  H2Session& session() { return session_; }
  const TlsConn& tls() const { return *tls_; }
  weft_reason down_reason() const { return down_reason_; }
  const std::string& down_detail() const { return down_detail_; }

 private:
  enum class State { kConnecting, kHandshaking, kUp, kDown };

  void OnIo(uint32_t events) override;
  void OnFrames(std::span<const uint8_t> bytes) override;
  size_t SendRoom() override;
  void OnRequest(H2Stream& stream, HeaderBlock headers, bool end) override;
  void OnCapacityChanged() override;
  void OnPingAck(uint64_t payload) override;
  void OnPlain(std::span<const uint8_t> bytes) override;

  void OnConnected();
  void Read();
  void AfterHandshake();
  void SayGoingAway();
  void SealStaged();
  void FinishTurn();
  bool Flush();
  void OnTimer();
  void Fail(weft_reason reason, std::string detail);

  LoopContext& context_;
  Owner& owner_;
  UniqueFd fd_;
  std::unique_ptr<TlsConn> tls_;
  H2Session session_;
  const TunnelTimeouts& timeouts_;
  State state_;
  bool is_server_;
  bool peer_finished_ = false;  // RDHUP: read until the end
  bool writable_ = true;
  bool draining_ = false;
  bool drain_seen_ = false;  // the peer knows, or opens nothing anyway: idle means over
  bool ping_outstanding_ = false;
  uint64_t ping_sent_ms_ = 0;
  weft_reason down_reason_ = WEFT_R_NONE;
  std::string down_detail_;
  Buffer staged_;
  Buffer out_;
  Timer timer_;
  TurnTask flush_task_;
  TurnTask read_task_;
};

}  // namespace weft
