#pragma once

#include <cstdint>
#include <optional>

#include "l7/filter.h"
#include "l7/program.h"

namespace weft::l7 {

inline constexpr uint32_t kMillion = 1'000'000;

// True for `ppm` of a million values of `random`, spread evenly: 0 never, a million always.
inline bool FallsInto(uint32_t random, uint32_t ppm) { return (uint64_t{random} * kMillion >> 32) < ppm; }

// Whether a request is delayed and whether it is aborted: two draws that know nothing of each other.
bool DrawDelay(const FaultProgram& fault, uint32_t random);
bool DrawAbort(const FaultProgram& fault, uint32_t random);
LocalReply FaultReply(const FaultProgram& fault);

}  // namespace weft::l7
