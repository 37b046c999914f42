#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace weft::telemetry {

// What trace headers a request gets that came with none: those that the tracer of the provider would write.
enum class Exporter : uint8_t {
  kNone,    // spans go nowhere, contexts are passed on: W3C and B3
  kZipkin,  // B3, one header per field
  kOtlp,    // W3C
};

// The part of a Telemetry message (proto/l7.proto) that the engine executes; TypeScript executes the rest. Immutable,
// shared by all loops. Named by ChainProgram; what it says holds for requests that begin under it.
struct TelemetryProgram {
  std::string name;
  // Every request becomes a record: it has access logs, or tags of metrics that only requests know.
  bool records = false;
  bool metrics_disabled = false;

  bool tracing = false;  // false: trace headers are passed through as they came
  uint32_t sampling_ppm = 0;
  bool disable_spans = false;
  bool disable_propagation = false;
  bool use_request_id = false;
  Exporter exporter = Exporter::kNone;

  // Lower case. What formats, filters and tags ask for (RequestRecord::request_headers).
  std::vector<std::string> request_headers;
  std::vector<std::string> response_headers;
};

// From an encoded weft.l7.Telemetry.
Result<std::shared_ptr<const TelemetryProgram>> CompileTelemetry(std::string_view bytes);

}  // namespace weft::telemetry
