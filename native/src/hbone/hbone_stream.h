#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/buffer.h"
#include "base/intrusive_list.h"
#include "hbone/h2_connection.h"
#include "loop/loop_context.h"
#include "net/byte_stream.h"

namespace weft {

// One CONNECT stream of a tunnel as a stream of bytes, at either end of it.
//
// Back-pressure is HTTP/2's: bytes that a handler does not take (PauseReads) are kept here and not credited to the
// peer, so that what one stream holds is bounded by its window.
class HboneStream : public ByteStream, protected StreamHandler {
 public:
  // Output that waits for the peer's window or the tunnel before whoever writes is held back.
  static constexpr size_t kHighWatermark = 256 * 1024;
  // How long an orderly end may wait for the peer to take what is left.
  static constexpr uint64_t kLingerMs = 2'000;

  ~HboneStream() override;

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

 protected:
  HboneStream(LoopContext& context, StreamInfo info);
  // The stream that this is about, in whichever tunnel.
  void Attach(H2Connection& tunnel, H2Stream& stream);
  // The 2xx was sent or has come: bytes may flow.
  void SetUp();
  void Down(StreamEnd end, std::string detail);
  H2Session& session() { return tunnel_->session(); }
  H2Stream* stream() { return stream_; }
  // The stream on the wire, which is no longer ours.
  H2Stream* Detach();
  bool down() const { return down_; }

 private:
  void OnStreamHeaders(const HeaderBlock&, bool) override {}
  void OnStreamData(std::span<const uint8_t> bytes) override;
  void OnStreamEnd() override;
  void OnStreamWritable() override;
  void OnStreamClosed(uint32_t code, bool by_peer) override;

  bool may_write() const { return up_ && stream_ != nullptr; }
  // Hands over what was kept back, then the end of it.
  void Deliver();
  // Sends what the peer's window and the tunnel take.
  void Flush();
  void FinishTurn();
  void Report();

  LoopContext& context_;
  H2Connection* tunnel_ = nullptr;  // valid while stream_ is
  H2Stream* stream_ = nullptr;      // null: over on the wire, or not begun
  bool begun_ = false;
  bool up_ = false;
  bool paused_ = false;
  bool closing_ = false;  // what still comes is thrown away
  bool read_end_seen_ = false;
  bool read_end_told_ = false;
  mutable bool blocked_ = false;  // WriteRoom() was 0: an OnWritable is owed
  bool finish_wanted_ = false;
  bool finished_ = false;
  bool down_ = false;
  Buffer in_;
  Buffer out_;
  StreamEnd end_ = StreamEnd::kClosed;
  std::string detail_;
  Timer linger_timer_;
  TurnTask flush_task_;
  TurnTask read_task_;
};

// The accepting side. The peer waits for an answer: Accept or Refuse must follow.
class HboneServerStream final : public HboneStream {
 public:
  HboneServerStream(LoopContext& context, H2Connection& tunnel, H2Stream& stream, StreamInfo info);
  // Answers 200; nothing that is written leaves before. `baggage` empty: none.
  void Accept(std::string_view baggage = {});
  // Answers that there will be no connection ("503"), and is over; no further calls to the handler.
  void Refuse(std::string_view status);

 private:
  bool answered_ = false;
};

// The asking side: made before there is a tunnel, then opened in one. OnStreamUp with an answer of 2xx.
class HboneClientStream final : public HboneStream {
 public:
  HboneClientStream(LoopContext& context, StreamInfo info, std::string authority, std::string baggage,
                    std::string traceparent);
  // False: the tunnel takes no more streams; try another.
  bool OpenIn(H2Connection& tunnel);
  // There will be no tunnel.
  void Fail(StreamEnd end, std::string detail) { Down(end, std::move(detail)); }
  ListLink<HboneClientStream> link_;  // while it waits for a tunnel

 private:
  void OnStreamHeaders(const HeaderBlock& headers, bool end) override;

  std::string authority_;
  std::string baggage_;
  std::string traceparent_;
};

}  // namespace weft
