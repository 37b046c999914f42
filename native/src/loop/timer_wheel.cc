#include "loop/timer_wheel.h"

#include <algorithm>

namespace weft {

void TimerWheel::Arm(Timer& timer, uint64_t now_ms, uint64_t delay_ms) {
  timer.tick_ = std::max(tick_ + 1, (now_ms + delay_ms + kTickMs - 1) / kTickMs);
  earliest_ = std::min(earliest_, timer.tick_);
  slots_[timer.tick_ % kSlots].PushBack(timer.link_);
}

void TimerWheel::Advance(uint64_t now_ms) {
  const uint64_t target = now_ms / kTickMs;
  if (target <= tick_) return;
  IntrusiveList<Timer> due;
  const uint64_t steps = std::min(target - tick_, kSlots);
  for (uint64_t i = 1; i <= steps; ++i) {
    slots_[(tick_ + i) % kSlots].ForEach([&](Timer& timer) {
      if (timer.tick_ <= target) due.PushBack(timer.link_);
    });
  }
  tick_ = target;
  // A callback may disarm or destroy any other timer, so take them one by one.
  while (Timer* timer = due.PopFront()) timer->callback_();
}

int TimerWheel::NextDelayMs(uint64_t now_ms) const {
  if (earliest_ <= tick_) {
    earliest_ = UINT64_MAX;
    for (uint64_t i = 1; i <= kSlots && earliest_ == UINT64_MAX; ++i) {
      if (!slots_[(tick_ + i) % kSlots].empty()) earliest_ = tick_ + i;
    }
  }
  if (earliest_ == UINT64_MAX) return -1;
  const uint64_t at = earliest_ * kTickMs;
  return at <= now_ms ? 0 : static_cast<int>(std::min<uint64_t>(at - now_ms, kSlots * kTickMs));
}

}  // namespace weft
