#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/token_bucket.h"
#include "hbone/frame.h"
#include "hbone/h2_stream.h"
#include "hbone/hpack.h"
#include "weft_reasons.h"

namespace weft {

// Windows and limits of one HTTP/2 connection.
//
// Memory. The peer may send on a stream only what the stream's window grants; bytes count until the application's
// socket took them. Every stream is granted `base_window` and may grow to `max_window` while its application keeps up,
// all growth of a connection together out of one `connection_window`. The connection window itself is credited on
// receipt, so a stream whose application stalls stops only itself. What a connection can make us hold is therefore at
// most
//     max_streams * base_window + connection_window        (200 * 128 KiB + 16 MiB = 41 MiB)
// and 1,000 streams that stall from their start hold 125 MiB, not the 4 GB that 4 MiB each would be.
struct H2Config {
  bool server = false;
  uint32_t base_window = 128 * 1024;
  uint32_t max_window = 4 * 1024 * 1024;
  uint32_t connection_window = 16 * 1024 * 1024;
  uint32_t max_frame = 1024 * 1024;
  // Server: advertised and enforced.
  uint32_t max_streams = 200;
  uint32_t max_header_list = 16 * 1024;
};

// Budgets against abuse of one connection; legitimate peers stay far below. Refilled per second.
struct H2Abuse {
  // Streams that the peer resets before we answered (CVE-2023-44487), or that it makes us reset by breaking a rule
  // (CVE-2025-8671). A client whose applications give up early does a few of these per second.
  static constexpr uint32_t kResetBurst = 200;
  static constexpr uint32_t kResetsPerSecond = 20;
  // PING, SETTINGS, PRIORITY, unknown and empty frames (CVE-2019-9512, -9515, -9518): keepalive and window probes.
  static constexpr uint32_t kControlBurst = 500;
  static constexpr uint32_t kControlPerSecond = 100;
  // Frames of one header block; 64 KiB of headers need 4 at the smallest frame limit (CVE-2024-27919).
  static constexpr uint32_t kMaxContinuations = 8;
  // Wire bytes of one header block.
  static constexpr uint32_t kMaxHeaderBlock = 64 * 1024;
  // RFC 9113 knows 6 settings.
  static constexpr uint32_t kMaxSettingsPerFrame = 32;
  // GOAWAY debug data that we are ready to hold.
  static constexpr uint32_t kMaxGoAway = 4096;
};

// One end of an HTTP/2 connection that carries CONNECT streams only. Pure: bytes in by Receive, bytes out by Output;
// no sockets, no clocks. Streams and the session may be closed from any callback; the session itself must outlive the
// call.
class H2Session {
 public:
  class Output {
   public:
    // Frames to send, in order.
    virtual void OnFrames(std::span<const uint8_t> bytes) = 0;
    // How many more payload bytes the transport is ready to buffer now.
    virtual size_t SendRoom() = 0;
    // Server: a request began. The handler (or null: the stream was refused by a reset) is set before returning.
    virtual void OnRequest(H2Stream& stream, HeaderBlock headers, bool end) = 0;
    // The peer will take no more streams, or fewer are open: what may be opened changed.
    virtual void OnCapacityChanged() = 0;
    virtual void OnPingAck(uint64_t payload) = 0;

   protected:
    ~Output() = default;
  };

  H2Session(const H2Config& config, Output& output);
  H2Session(const H2Session&) = delete;
  H2Session& operator=(const H2Session&) = delete;
  ~H2Session();

  // Sends preface and settings.
  void Start();
  // Takes bytes from the peer. False: the connection must end, see failure(); a GOAWAY is in the output.
  bool Receive(std::span<const uint8_t> bytes, uint64_t now_ms);

  // Client: opens a stream with a header block, or null when no stream may be opened.
  H2Stream* Open(std::span<const HeaderField> fields, StreamHandler* handler);
  bool CanOpen() const;
  // Server: answers. `end`: no payload follows (END_STREAM).
  void Answer(H2Stream& stream, std::span<const HeaderField> fields, bool end);
  // Payload bytes that may be sent now; 0 promises an OnStreamWritable later.
  size_t SendBudget(H2Stream& stream);
  // Largest payload of one frame that the peer takes.
  size_t max_send_frame() const { return peer_max_frame_; }
  // Sends `n` payload bytes (within SendBudget), which lie in `frames` as slices of `slice` bytes, each preceded by
  // kFrameHeaderBytes of room that is written here.
  void SendData(H2Stream& stream, uint8_t* frames, size_t slice, size_t n);
  // Half-closes. May close the stream.
  void SendEnd(H2Stream& stream);
  // Resets. Closes the stream.
  void Reset(H2Stream& stream, uint32_t code);
  // `n` received bytes of the stream have left our memory.
  void Consume(H2Stream& stream, size_t n);

  void SendPing(uint64_t payload);
  // Server: no more streams than those seen by the peer's next round trip.
  void StartDrain();
  // Says that everything of the peer after the streams seen so far is refused.
  void FinishDrain();
  // Calls OnStreamWritable on streams that wait for budget.
  void ResumeBlocked();
  // Ends all streams as reset by `code`; nothing is sent for them.
  void CloseAll(uint32_t code, bool by_peer);

  size_t open_streams() const { return streams_.size(); }
  uint32_t max_open_streams() const { return peer_max_streams_; }
  bool peer_going_away() const { return peer_going_away_; }
  bool failed() const { return failed_; }
  weft_reason failure() const { return failure_; }
  const std::string& failure_detail() const { return failure_detail_; }

 private:
  bool Fail(uint32_t code, weft_reason reason, const char* detail);
  bool OnFrame(std::span<const uint8_t> payload);
  bool CheckHeader();
  bool BeginData();
  void TakeData(std::span<const uint8_t> bytes);
  bool EndData();
  bool OnHeaders(std::span<const uint8_t> payload);
  bool OnHeaderFragment(std::span<const uint8_t> fragment, bool last);
  bool OnHeadersDone();
  bool OnClientHeaders(H2Stream& stream, HeaderBlock headers, bool end);
  bool OnRstStream(std::span<const uint8_t> payload);
  bool OnSettings(std::span<const uint8_t> payload);
  bool ApplySetting(uint16_t id, uint32_t value);
  bool OnPing(std::span<const uint8_t> payload);
  bool OnGoAway(std::span<const uint8_t> payload);
  bool OnWindowUpdate(std::span<const uint8_t> payload);

  bool SpendControl();
  bool SpendReset();
  // Resets a stream because the peer broke a rule on it.
  bool Violation(H2Stream& stream, uint32_t code);
  H2Stream* Find(uint32_t id);
  bool IsIdle(uint32_t id) const;
  void RemoteEnd(H2Stream& stream);
  void CloseIfDone(H2Stream& stream);
  void Close(H2Stream& stream, uint32_t code, bool by_peer);
  void SendFrame(h2::FrameHeader header, std::span<const uint8_t> payload);
  void SendHeaders(uint32_t stream, std::span<const HeaderField> fields, bool end);
  void SendRst(uint32_t stream, uint32_t code);
  void SendWindowUpdate(uint32_t stream, uint32_t increment);
  void SendGoAway(uint32_t last, uint32_t code);

  H2Config config_;
  Output& output_;
  HpackEncoder encoder_;
  HpackDecoder decoder_;
  std::unordered_map<uint32_t, std::unique_ptr<H2Stream>> streams_;
  H2Stream* last_found_ = nullptr;
  uint32_t next_stream_ = 1;       // client
  uint32_t last_peer_stream_ = 0;  // server
  IntrusiveList<H2Stream> blocked_;

  int64_t send_window_ = h2::kDefaultWindow;
  int64_t peer_initial_window_ = h2::kDefaultWindow;
  uint32_t peer_max_frame_ = h2::kMinMaxFrame;
  uint32_t peer_max_streams_;
  int64_t recv_window_;
  int64_t unacked_ = 0;
  int64_t growth_left_;

  bool settings_seen_ = false;
  bool peer_going_away_ = false;
  bool draining_ = false;
  bool failed_ = false;
  weft_reason failure_ = WEFT_R_NONE;
  std::string failure_detail_;
  uint64_t now_ms_ = 0;
  TokenBucket resets_{H2Abuse::kResetBurst, H2Abuse::kResetsPerSecond};
  TokenBucket control_{H2Abuse::kControlBurst, H2Abuse::kControlPerSecond};

  // The frame that is being read.
  size_t preface_left_ = 0;
  uint8_t header_bytes_[h2::kFrameHeaderBytes];
  size_t header_have_ = 0;
  h2::FrameHeader frame_;
  uint32_t payload_left_ = 0;
  uint32_t padding_left_ = 0;
  bool pad_length_due_ = false;
  bool skip_payload_ = false;
  std::vector<uint8_t> payload_;
  // The header block that is being read.
  uint32_t block_stream_ = 0;
  uint8_t block_flags_ = 0;
  uint32_t block_frames_ = 0;
  uint32_t block_bytes_ = 0;
};

}  // namespace weft
