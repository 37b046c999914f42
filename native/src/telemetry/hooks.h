#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "http/message.h"
#include "l7/record.h"
#include "telemetry/program.h"
#include "telemetry/random.h"
#include "telemetry/trace_context.h"

namespace weft::telemetry {

// What an exchange keeps of its trace, from OnRequestStart to the record.
struct RequestTrace {
  // This proxy's span. No ids: the request has no trace.
  SpanContext span;
  uint8_t formats = 0;  // headers that go on: TraceHeaders
};

// What telemetry does to requests on their way; one per loop.
//
// Which headers carry the trace: those that came (each is answered in kind, ids of the provider's own kind first);
// without any, what Envoy's tracer of that provider writes: x-b3-* for Zipkin, traceparent for OpenTelemetry, both when
// spans have no exporter.
class Hooks {
 public:
  Hooks() = default;
  explicit Hooks(Random random) : random_(random) {}

  // Every request once, before routes are matched: it gets its x-request-id if it has none, and its place in a trace.
  // `program` null: no Telemetry is in force.
  void OnRequestStart(http::RequestHead& head, const TelemetryProgram* program, RequestTrace& trace);
  // Once, before the request is forwarded the first time (attempts and mirrors carry the same headers).
  void OnUpstreamRequest(http::RequestHead& head, const RequestTrace& trace);

 private:
  void Begin(http::RequestHead& head, const TelemetryProgram& program, RequestTrace& trace);
  bool Sample(http::RequestHead& head, const TelemetryProgram& program);

  Random random_;
};

// Writes the trace into the record.
void FillTrace(const RequestTrace& trace, l7::RequestRecord& record);

using HeaderPairs = std::vector<std::pair<std::string_view, std::string_view>>;
// Adds the headers of those names that are there, values of lists joined.
void CopyHeaders(const std::vector<std::string>& names, const http::HeaderMap& headers, HeaderPairs& into);

}  // namespace weft::telemetry
