#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <string>

#include "base/buffer.h"
#include "base/pending_budget.h"
#include "base/unique_fd.h"
#include "hbone/h2_connection.h"
#include "loop/loop_context.h"
#include "weft_reasons.h"

namespace weft {

class TunnelRelay;

// Received payload of one stream that has not been written to its application yet: pieces of the tunnel's receive
// buffer. One per loop; leaving a stream or the buffer flushes it with one system call.
class WriteBatch {
 public:
  void Add(TunnelRelay& relay, std::span<const uint8_t> bytes);
  // `ending`: the stream of this relay ends behind what it got.
  void Flush(const TunnelRelay* ending = nullptr);

 private:
  static constexpr size_t kPieces = 64;
  TunnelRelay* relay_ = nullptr;
  iovec pieces_[kPieces];
  size_t n_ = 0;
};

// Copies between an application's socket and one stream of a tunnel, both ways, with half-close and reset.
//
// Back-pressure: towards the tunnel nothing is buffered here, the application's socket is read only when the stream
// may send. Towards the application, what the socket does not take stays in `to_app_`, bounded by the stream's window,
// which is credited when the socket took it.
class TunnelRelay : public StreamHandler, private IoHandler {
 public:
  // Frames of one read from an application, headers included: whole TLS records. Also what one relay may do before
  // others get their turn. With 64 KiB, a 64 KiB page and its header took two of everything (bench/README.md).
  static constexpr size_t kReadBytes = 128 * 1024;
  static_assert(kReadBytes <= LoopContext::kAppBytes);

 protected:
  // `share`: the pod's part of what may wait for applications.
  TunnelRelay(LoopContext& context, WriteBatch& batch, PendingShare& share);
  ~TunnelRelay();

  // Takes the socket and watches it. `connecting`: OnDialed or OnDialFailed follows.
  Status Attach(UniqueFd app, bool connecting);
  void BindStream(H2Connection& tunnel, H2Stream& stream);
  // From here on bytes flow.
  void StartRelay();
  // Ends both sides: `kNoError`-like end when reason is none, else RST to the application and RST_STREAM to the peer.
  void StopRelay(weft_reason reason);

  virtual void OnDialed() = 0;
  virtual void OnDialFailed(int error) = 0;
  // Both directions are done, or one failed. Called once; the relay is stopped.
  virtual void OnRelayEnd(weft_reason reason, std::string detail) = 0;
  // The application went away before StartRelay.
  virtual void OnAppGone() = 0;

  void OnStreamData(std::span<const uint8_t> bytes) override;
  void OnStreamEnd() override;
  void OnStreamWritable() override;
  void OnStreamClosed(uint32_t code, bool by_peer) override;

  LoopContext& context_;
  H2Connection* tunnel_ = nullptr;
  H2Stream* stream_ = nullptr;
  uint64_t from_app_bytes_ = 0;
  uint64_t to_app_bytes_ = 0;

 private:
  friend class WriteBatch;
  void OnIo(uint32_t events) override;
  void ReadApp();
  // `last`: the end of the stream follows at once.
  void WritePieces(iovec* pieces, size_t n, bool last);
  void Keep(std::span<const uint8_t> bytes);
  void WritePending();
  void DropPending();
  void Credit(size_t n);
  void EndIfDone();
  void End(weft_reason reason, std::string detail);

  WriteBatch& batch_;
  PendingShare& share_;
  UniqueFd app_;
  Buffer to_app_;
  TurnTask read_task_;
  bool connecting_ = false;
  bool relaying_ = false;
  bool ended_ = false;
  bool app_readable_ = false;
  bool app_writable_ = true;
  bool app_finished_ = false;  // RDHUP seen: read until the end
  bool app_eof_ = false;       // END_STREAM sent
  bool stream_eof_ = false;    // END_STREAM received
  bool shut_ = false;          // SHUT_WR done
};

}  // namespace weft
