#pragma once

#include <cstdint>
#include <vector>

#include "l7/record.h"

namespace weft::telemetry {

// Appends a record in the form that waypoint/src/telemetry/records.ts reads; the two change together, and a golden file
// (native/test/golden) is checked from both sides. Texts are read lazily there, so they come behind a table of ends:
//
//   fixed part (kFixedBytes)  |  u32 end of each text, relative to the first  |  texts
//
// Texts in order: those of kTexts, then name and value of each request header, then of each response header.
void EncodeRecord(const l7::RequestRecord& record, std::vector<uint8_t>& bytes);

// Longer texts are cut: a log line of more helps nobody, and a record must fit into a batch.
inline constexpr size_t kMaxTextBytes = 16 * 1024;

}  // namespace weft::telemetry
