#include "telemetry/random.h"

#include <sys/random.h>

#include <ctime>

namespace weft::telemetry {
namespace {

// Spreads one number over the state, as the generator's authors advise (splitmix64).
uint64_t Spread(uint64_t& x) {
  x += 0x9e3779b97f4a7c15;
  uint64_t z = x;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

Random::Random(uint64_t seed) {
  for (uint64_t& word : state_) word = Spread(seed);
}

Random::Random() : Random(0) {
  std::array<uint64_t, 4> seed{};
  // Always succeeds once the kernel's pool is up, which it is long before any pod starts.
  if (getrandom(seed.data(), sizeof seed, 0) == static_cast<ssize_t>(sizeof seed)) {
    for (size_t i = 0; i < seed.size(); ++i) state_[i] ^= seed[i];
    return;
  }
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  state_[0] ^= static_cast<uint64_t>(now.tv_nsec) ^ reinterpret_cast<uintptr_t>(this);
}

}  // namespace weft::telemetry
