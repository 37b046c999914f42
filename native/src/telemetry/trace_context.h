#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace weft::telemetry {

using TraceId = std::array<uint8_t, 16>;
using SpanId = std::array<uint8_t, 8>;

// The place of a request in a trace, as a header tells it. An all-zero trace id: the header held a decision alone.
struct SpanContext {
  TraceId trace_id{};
  SpanId span_id{};
  SpanId parent_span_id{};      // B3 only; all zero: unknown
  std::optional<bool> sampled;  // nothing: whoever reads it decides
  bool debug = false;           // B3: sampled, whatever samplers say
  bool short_trace_id = false;  // B3: 64 bits, and to be written so

  bool has_ids() const { return trace_id != TraceId{}; }
  bool operator==(const SpanContext&) const = default;
};

// W3C Trace Context: "00-<trace>-<span>-<flags>". Nothing: not valid, to be treated as absent.
std::optional<SpanContext> ParseTraceparent(std::string_view text);
// B3 in one header: "<trace>-<span>[-<sampled>[-<parent>]]", or the decision alone.
std::optional<SpanContext> ParseB3(std::string_view text);
// B3 in x-b3-*; absent headers are empty.
struct B3Headers {
  std::string_view trace_id, span_id, parent_span_id, sampled, flags;
};
std::optional<SpanContext> ParseB3Multi(const B3Headers& headers);

// The text of a header in place, for HeaderMap to copy.
class HeaderText {
 public:
  // "<32>-<16>-1-<16>", and traceparent's 55.
  static constexpr size_t kCapacity = 72;
  std::string_view view() const { return {bytes_.data(), size_}; }

 private:
  friend HeaderText TraceparentText(const SpanContext&);
  friend HeaderText B3Text(const SpanContext&);
  friend HeaderText TraceIdText(const SpanContext&);
  friend HeaderText SpanIdText(const SpanId&);
  std::array<char, kCapacity> bytes_;
  size_t size_ = 0;
};
HeaderText TraceparentText(const SpanContext& context);
HeaderText B3Text(const SpanContext& context);
HeaderText TraceIdText(const SpanContext& context);
HeaderText SpanIdText(const SpanId& id);

}  // namespace weft::telemetry
