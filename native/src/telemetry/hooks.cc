#include "telemetry/hooks.h"

#include <cstring>
#include <optional>

#include "telemetry/request_id.h"

namespace weft::telemetry {
namespace {

using http::HeaderId;

enum TraceHeaders : uint8_t { kW3c = 1, kB3Single = 2, kB3Multi = 4 };

constexpr std::string_view kClientTrace = "x-client-trace-id";
constexpr std::string_view kForceTrace = "x-envoy-force-trace";

struct Incoming {
  std::optional<SpanContext> w3c;
  std::optional<SpanContext> b3;
  uint8_t formats = 0;
};

Incoming ReadIncoming(const http::HeaderMap& headers) {
  Incoming incoming;
  // Several are as good as none (W3C Trace Context, 3.2.1).
  if (headers.Count(HeaderId::kTraceparent) == 1) {
    incoming.w3c = ParseTraceparent(headers.Get(HeaderId::kTraceparent));
    if (incoming.w3c) incoming.formats |= kW3c;
  }
  if (const http::Header* single = headers.Find(HeaderId::kB3)) {
    incoming.b3 = ParseB3(single->value);
    if (incoming.b3) incoming.formats |= kB3Single;
  }
  const B3Headers multi{headers.Get(HeaderId::kXB3TraceId), headers.Get(HeaderId::kXB3SpanId),
                        headers.Get(HeaderId::kXB3ParentSpanId), headers.Get(HeaderId::kXB3Sampled),
                        headers.Get(HeaderId::kXB3Flags)};
  if (const auto context = ParseB3Multi(multi)) {
    incoming.formats |= kB3Multi;
    if (!incoming.b3) incoming.b3 = context;  // the single header wins, says B3
  }
  return incoming;
}

uint8_t OwnFormats(Exporter exporter) {
  switch (exporter) {
    case Exporter::kZipkin:
      return kB3Multi;
    case Exporter::kOtlp:
      return kW3c;
    case Exporter::kNone:
      break;
  }
  return kW3c | kB3Multi;
}

template <size_t N>
void Fill(Random& random, std::array<uint8_t, N>& id) {
  static_assert(N % sizeof(uint64_t) == 0);
  for (size_t i = 0; i < N; i += sizeof(uint64_t)) {
    const uint64_t bits = random.Next() | 1;  // an id of zeros is none
    std::memcpy(id.data() + i, &bits, sizeof bits);
  }
}

void SetReason(http::HeaderMap& headers, std::string_view request_id, TraceReason reason) {
  char* copy = headers.arena().Take(request_id.size());
  std::memcpy(copy, request_id.data(), request_id.size());
  WriteTraceReason(copy, reason);
  headers.Set(HeaderId::kXRequestId, {copy, request_id.size()});
}

}  // namespace

void Hooks::OnRequestStart(http::RequestHead& head, const TelemetryProgram* program, RequestTrace& trace) {
  if (head.headers.Get(HeaderId::kXRequestId).empty()) {
    const RequestIdText id = MakeRequestId(random_);
    head.headers.Set(HeaderId::kXRequestId, {id.data(), id.size()});
  }
  if (program != nullptr && program->tracing) Begin(head, *program, trace);
}

void Hooks::Begin(http::RequestHead& head, const TelemetryProgram& program, RequestTrace& trace) {
  const Incoming incoming = ReadIncoming(head.headers);
  const bool w3c_first = program.exporter != Exporter::kZipkin;
  const std::optional<SpanContext>& first = w3c_first ? incoming.w3c : incoming.b3;
  const std::optional<SpanContext>& second = w3c_first ? incoming.b3 : incoming.w3c;
  const bool use_first = first && (first->has_ids() || !second);
  const std::optional<SpanContext>& parent = use_first ? first : second;

  SpanContext& span = trace.span;
  if (parent) {
    span.trace_id = parent->trace_id;
    span.parent_span_id = parent->span_id;
    span.short_trace_id = parent->short_trace_id;
    span.debug = parent->debug;
    span.sampled = parent->sampled;
  }
  if (!span.has_ids()) Fill(random_, span.trace_id);
  Fill(random_, span.span_id);
  if (!span.sampled) span.sampled = Sample(head, program);
  if (program.disable_propagation) return;
  trace.formats = incoming.formats != 0 ? incoming.formats : OwnFormats(program.exporter);
}

bool Hooks::Sample(http::RequestHead& head, const TelemetryProgram& program) {
  http::HeaderMap& headers = head.headers;
  const std::string_view id = headers.Get(HeaderId::kXRequestId);
  const std::optional<TraceReason> reason = ReadTraceReason(id);
  if (!program.use_request_id) return random_.Next() % 1'000'000 < program.sampling_ppm;
  if (!reason) return false;
  if (*reason != TraceReason::kNone) return true;
  if (headers.Find(kClientTrace) != nullptr) {
    SetReason(headers, id, TraceReason::kClientForced);
  } else if (headers.Find(kForceTrace) != nullptr) {
    SetReason(headers, id, TraceReason::kServiceForced);
  } else if (FallsIntoShare(id, program.sampling_ppm)) {
    SetReason(headers, id, TraceReason::kSampled);
  } else {
    return false;
  }
  return true;
}

void Hooks::OnUpstreamRequest(http::RequestHead& head, const RequestTrace& trace) {
  if (trace.formats == 0) return;
  http::HeaderMap& headers = head.headers;
  const SpanContext& span = trace.span;
  if (trace.formats & kW3c) headers.Set(HeaderId::kTraceparent, TraceparentText(span).view());
  if (trace.formats & kB3Single) headers.Set(HeaderId::kB3, B3Text(span).view());
  if (!(trace.formats & kB3Multi)) return;
  headers.Set(HeaderId::kXB3TraceId, TraceIdText(span).view());
  headers.Set(HeaderId::kXB3SpanId, SpanIdText(span.span_id).view());
  if (span.parent_span_id != SpanId{}) {
    headers.Set(HeaderId::kXB3ParentSpanId, SpanIdText(span.parent_span_id).view());
  } else {
    headers.Remove(HeaderId::kXB3ParentSpanId);
  }
  // B3: a debug trace says so by the flag alone.
  if (!span.debug) headers.Set(HeaderId::kXB3Sampled, *span.sampled ? "1" : "0");
}

void FillTrace(const RequestTrace& trace, l7::RequestRecord& record) {
  record.trace_id = trace.span.trace_id;
  record.span_id = trace.span.span_id;
  record.parent_span_id = trace.span.parent_span_id;
  record.sampled = trace.span.sampled.value_or(false);
}

void CopyHeaders(const std::vector<std::string>& names, const http::HeaderMap& headers, HeaderPairs& into) {
  for (const std::string& name : names) {
    const std::string_view value = headers.Joined(name);
    if (value.data() != nullptr) into.emplace_back(name, value);
  }
}

}  // namespace weft::telemetry
