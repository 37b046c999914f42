#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

// One fuzz target per file:
//
//   WEFT_FUZZ_TARGET("spiffe-id") { ... uses `input`, aborts (FUZZ_CHECK) on a broken promise ... }
//
// Compiled alone with -DWEFT_LIBFUZZER it is a libFuzzer binary; compiled without, it registers itself and
// replay_test.cc runs every file of native/fuzz/corpus/<name>/ through it as a unit test.

namespace weft::fuzz {

using Target = void (*)(std::span<const uint8_t> input);

inline std::map<std::string, Target>& Targets() {
  static std::map<std::string, Target> targets;
  return targets;
}

struct Registration {
  Registration(const char* name, Target target) { Targets().emplace(name, target); }
};

}  // namespace weft::fuzz

#define FUZZ_CHECK(condition) \
  do {                        \
    if (!(condition)) {       \
      __builtin_trap();       \
    }                         \
  } while (false)

#ifdef WEFT_LIBFUZZER
#define WEFT_FUZZ_TARGET(name)                                           \
  static void WeftFuzz(std::span<const uint8_t> input);                  \
  extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t n) { \
    WeftFuzz({data, n});                                                 \
    return 0;                                                            \
  }                                                                      \
  static void WeftFuzz([[maybe_unused]] std::span<const uint8_t> input)
#else
#define WEFT_FUZZ_TARGET(name)                                                   \
  static void WeftFuzz(std::span<const uint8_t> input);                          \
  static const weft::fuzz::Registration weft_fuzz_registration(name, &WeftFuzz); \
  static void WeftFuzz([[maybe_unused]] std::span<const uint8_t> input)
#endif
