#include "loop/timer_wheel.h"

#include <gtest/gtest.h>

#include <vector>

namespace weft {
namespace {

TEST(TimerWheelTest, FiresInTimeAndNotBefore) {
  TimerWheel wheel(1000);
  int fired = 0;
  Timer timer([&] { ++fired; });
  wheel.Arm(timer, 1000, 100);
  wheel.Advance(1099);
  EXPECT_EQ(fired, 0);
  wheel.Advance(1100 + TimerWheel::kTickMs);
  EXPECT_EQ(fired, 1);
  EXPECT_FALSE(timer.armed());
}

TEST(TimerWheelTest, TimesLongerThanARevolutionWait) {
  TimerWheel wheel(0);
  int fired = 0;
  Timer timer([&] { ++fired; });
  constexpr uint64_t kDelay = 3 * TimerWheel::kSlots * TimerWheel::kTickMs + 50;
  wheel.Arm(timer, 0, kDelay);
  for (uint64_t now = 0; now < kDelay; now += 16) wheel.Advance(now);
  EXPECT_EQ(fired, 0);
  wheel.Advance(kDelay + TimerWheel::kTickMs);
  EXPECT_EQ(fired, 1);
}

TEST(TimerWheelTest, ALateLoopFiresEverythingThatIsDue) {
  TimerWheel wheel(0);
  int fired = 0;
  std::vector<std::unique_ptr<Timer>> timers;
  for (uint64_t i = 0; i < 100; ++i) {
    timers.push_back(std::make_unique<Timer>([&] { ++fired; }));
    wheel.Arm(*timers.back(), 0, i * 500);
  }
  wheel.Advance(1'000'000);
  EXPECT_EQ(fired, 100);
}

TEST(TimerWheelTest, ACallbackMayDestroyAnotherTimerThatIsDue) {
  TimerWheel wheel(0);
  std::unique_ptr<Timer> second;
  bool second_fired = false;
  Timer first([&] { second.reset(); });
  second = std::make_unique<Timer>([&] { second_fired = true; });
  wheel.Arm(first, 0, 10);
  wheel.Arm(*second, 0, 10);
  wheel.Advance(100);
  EXPECT_FALSE(second_fired);
}

TEST(TimerWheelTest, SaysHowLongToWait) {
  TimerWheel wheel(0);
  EXPECT_EQ(wheel.NextDelayMs(0), -1);
  Timer timer([] {});
  wheel.Arm(timer, 0, 100);
  EXPECT_GE(wheel.NextDelayMs(0), 100);
  EXPECT_LE(wheel.NextDelayMs(0), 100 + static_cast<int>(TimerWheel::kTickMs));
  timer.Disarm();
  wheel.Advance(200);  // one look too many after a timer was disarmed, then none
  EXPECT_EQ(wheel.NextDelayMs(200), -1);
}

}  // namespace
}  // namespace weft
