#pragma once

#include <cstdint>
#include <functional>

#include "base/intrusive_list.h"

namespace weft {

class TimerWheel;

// Calls back once, at or up to one tick after its time. Disarmed by destruction. Used on its wheel's loop only.
class Timer {
 public:
  explicit Timer(std::function<void()> callback) : link_(this), callback_(std::move(callback)) {}
  bool armed() const { return link_.linked(); }
  void Disarm() { link_.Unlink(); }

 private:
  friend class TimerWheel;
  ListLink<Timer> link_;
  std::function<void()> callback_;
  uint64_t tick_ = 0;
};

// One-level hashed wheel. Timeouts here are protocol deadlines, so 8 ms of accuracy are traded for O(1) arming.
class TimerWheel {
 public:
  static constexpr uint64_t kTickMs = 8;
  static constexpr uint64_t kSlots = 1024;

  explicit TimerWheel(uint64_t now_ms) : tick_(now_ms / kTickMs) {}

  // Arms (or re-arms) `timer` to fire `delay_ms` after `now_ms`.
  void Arm(Timer& timer, uint64_t now_ms, uint64_t delay_ms);
  // Fires what is due.
  void Advance(uint64_t now_ms);
  // Milliseconds until something may be due; -1 when nothing is armed. Long timers cause a look once per revolution.
  int NextDelayMs(uint64_t now_ms) const;

 private:
  uint64_t tick_;
  // No timer is due before this tick; a lower bound, since disarming does not raise it. Saves looking at all slots in
  // every turn.
  mutable uint64_t earliest_ = 0;
  IntrusiveList<Timer> slots_[kSlots];
};

}  // namespace weft
