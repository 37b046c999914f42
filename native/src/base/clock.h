#pragma once

#include <time.h>

#include <chrono>
#include <cstdint>

namespace weft {

// CLOCK_MONOTONIC in microseconds.
inline uint64_t MonotonicUs() {
  using namespace std::chrono;
  return static_cast<uint64_t>(duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count());
}

// CLOCK_BOOTTIME: what BPF programs tell the time by.
inline std::chrono::nanoseconds SinceBoot() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

// Wall-clock time in milliseconds, as JavaScript counts it.
inline double UnixMs() {
  using namespace std::chrono;
  return duration<double, std::milli>(system_clock::now().time_since_epoch()).count();
}

}  // namespace weft
