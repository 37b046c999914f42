#pragma once

#include <string>

#include "base/unique_fd.h"
#include "loop/loop_context.h"
#include "net/byte_stream.h"
#include "net/socket.h"

namespace weft {

// A byte stream on a TCP socket.
class TcpStream final : public ByteStream, private IoHandler {
 public:
  // Output that waits for the socket before whoever writes is held back: enough for a round trip within a cluster.
  static constexpr size_t kHighWatermark = 256 * 1024;
  // How long an orderly end may wait for the peer to take what is left, and to end in its turn.
  static constexpr uint64_t kLingerMs = 2'000;
  // A peer that has acknowledged none of so many repetitions in a row, each after twice the time of the one before, is
  // gone: 13 seconds where round trips are short. The kernel alone would go on for a quarter of an hour, and whatever
  // is given to the connection waits as long. A peer that only reads slowly acknowledges.
  static constexpr uint8_t kMaxUnanswered = 6;
  // How often that is looked at, while something was sent.
  static constexpr uint64_t kAnswerCheckMs = 5'000;

  // `connect_ms` 0: the socket is connected.
  TcpStream(LoopContext& context, UniqueFd fd, const SocketAddress& remote, uint64_t connect_ms);
  ~TcpStream() override;

  Status Begin() override;
  void Write(std::span<const uint8_t> bytes) override;
  Buffer& out() override { return out_; }
  void WriteSoon() override;
  size_t WriteRoom() const override;
  void PauseReads() override { paused_ = true; }
  void ResumeReads() override;
  void FinishWrites() override;
  void Close() override;
  void Abort() override;

 private:
  enum class State : uint8_t { kConnecting, kUp, kClosing, kDown };

  void OnIo(uint32_t events) override;
  void OnConnected();
  void Read();
  void Flush();
  void FinishTurn();
  void OnTimer();
  void Sent();
  void CheckPeer();
  void Down(StreamEnd end, std::string detail);
  void Report();

  LoopContext& context_;
  UniqueFd fd_;
  State state_;
  uint64_t connect_ms_;
  bool readable_ = false;       // there may be more to read
  bool peer_finished_ = false;  // RDHUP: read until the end
  bool read_ended_ = false;
  bool paused_ = false;
  bool writable_ = true;
  mutable bool blocked_ = false;  // WriteRoom() was 0: an OnWritable is owed
  bool finish_wanted_ = false;
  bool finished_ = false;
  Buffer out_;
  StreamEnd end_ = StreamEnd::kClosed;
  std::string detail_;
  Timer timer_;
  TurnTask flush_task_;
  TurnTask read_task_;
  TurnTask report_task_;
};

}  // namespace weft
