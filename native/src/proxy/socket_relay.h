#pragma once

#include <cstdint>
#include <string>

#include "base/buffer.h"
#include "base/pending_budget.h"
#include "base/unique_fd.h"
#include "loop/loop_context.h"
#include "weft_reasons.h"

namespace weft {

// Copies between two sockets, both ways, with half-close and reset. A side is read only while the other has taken
// everything, so at most one read per direction is held.
class SocketRelay {
 public:
  static constexpr size_t kReadBytes = 128 * 1024;
  static_assert(kReadBytes <= LoopContext::kAppBytes);

 protected:
  // `share`: the pod's part of what may wait for applications.
  SocketRelay(LoopContext& context, PendingShare& share);
  ~SocketRelay();

  // Takes the accepted socket and the one that is connecting to `upstream`; OnDialed or OnRelayEnd follows.
  Status Attach(UniqueFd downstream, UniqueFd upstream, bool connecting);
  void StartRelay();
  // Closes both sockets, with RST unless reason is none.
  void StopRelay(weft_reason reason);

  virtual void OnDialed() = 0;
  virtual void OnDialFailed(int error) = 0;
  virtual void OnRelayEnd(weft_reason reason, std::string detail) = 0;

  LoopContext& context_;
  uint64_t request_bytes_ = 0;
  uint64_t response_bytes_ = 0;

 private:
  struct Side final : IoHandler {
    Side(SocketRelay& owner, LoopContext& context) : relay(owner), pending(context.buffers) {}
    void OnIo(uint32_t events) override;

    SocketRelay& relay;
    UniqueFd fd;
    Buffer pending;  // read from the other side, not written here yet
    bool readable = false;
    bool writable = true;
    bool finished = false;  // RDHUP seen: read until the end
    bool eof = false;       // read to the end
  };

  void OnIo(Side& side, uint32_t events);
  void DropPending();
  void Pump(Side& from, Side& to, uint64_t& bytes);
  bool WritePending(Side& to);
  void PumpBoth();
  void End(weft_reason reason, std::string detail);

  PendingShare& share_;
  Side downstream_;
  Side upstream_;
  TurnTask pump_task_;
  bool connecting_ = false;
  bool relaying_ = false;
  bool ended_ = false;
};

}  // namespace weft
