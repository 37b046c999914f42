#include "telemetry/trace_context.h"

#include <algorithm>

#include "telemetry/hex.h"

namespace weft::telemetry {
namespace {

constexpr size_t kTraceparentBytes = 55;
constexpr size_t kTraceDigits = 32;
constexpr size_t kShortTraceDigits = 16;
constexpr uint8_t kSampledFlag = 1;

template <size_t N>
bool AllZero(const std::array<uint8_t, N>& id) {
  return id == std::array<uint8_t, N>{};
}

bool ReadSpanId(std::string_view text, SpanId& id) { return ReadHex(text, id) && !AllZero(id); }

// 128 bits, or 64 bits in the right half.
bool ReadB3TraceId(std::string_view text, SpanContext& context) {
  context.short_trace_id = text.size() == kShortTraceDigits;
  const std::span<uint8_t> bytes = context.trace_id;
  if (!ReadHex(text, context.short_trace_id ? bytes.subspan(8) : bytes)) return false;
  return !AllZero(context.trace_id);
}

// False: not a state of sampling.
bool ReadSampled(std::string_view text, SpanContext& context) {
  if (text == "1" || text == "true" || text == "d") {
    context.sampled = true;
    context.debug = text == "d";
    return true;
  }
  if (text != "0" && text != "false") return false;
  context.sampled = false;
  return true;
}

// `rest` has no data when nothing, not even a dash, follows.
std::string_view NextPart(std::string_view& rest) {
  const size_t dash = rest.find('-');
  const std::string_view part = rest.substr(0, dash);
  rest = dash == std::string_view::npos ? std::string_view() : rest.substr(dash + 1);
  return part;
}

}  // namespace

std::optional<SpanContext> ParseTraceparent(std::string_view text) {
  if (text.size() < kTraceparentBytes) return std::nullopt;
  const std::string_view version = text.substr(0, 2);
  if (!IsLowerHex(version) || version == "ff") return std::nullopt;
  // Versions that we do not know begin like 00 and may go on behind a dash.
  if (text.size() > kTraceparentBytes && (version == "00" || text[kTraceparentBytes] != '-')) return std::nullopt;
  if (text[2] != '-' || text[35] != '-' || text[52] != '-') return std::nullopt;
  if (!IsLowerHex(text.substr(3, kTraceDigits)) || !IsLowerHex(text.substr(36, 16))) return std::nullopt;
  SpanContext context;
  std::array<uint8_t, 1> flags{};
  if (!IsLowerHex(text.substr(53, 2)) || !ReadHex(text.substr(53, 2), flags)) return std::nullopt;
  if (!ReadHex(text.substr(3, kTraceDigits), context.trace_id) || AllZero(context.trace_id)) return std::nullopt;
  if (!ReadSpanId(text.substr(36, 16), context.span_id)) return std::nullopt;
  context.sampled = (flags[0] & kSampledFlag) != 0;
  return context;
}

std::optional<SpanContext> ParseB3(std::string_view text) {
  SpanContext context;
  if (text.size() == 1) return ReadSampled(text, context) ? std::optional(context) : std::nullopt;
  if (!ReadB3TraceId(NextPart(text), context)) return std::nullopt;
  if (!ReadSpanId(NextPart(text), context.span_id)) return std::nullopt;
  if (text.data() == nullptr) return context;
  const std::string_view sampled = NextPart(text);
  if (sampled.size() != 1 || !ReadSampled(sampled, context)) return std::nullopt;
  if (text.data() == nullptr) return context;
  if (!ReadSpanId(text, context.parent_span_id)) return std::nullopt;
  return context;
}

std::optional<SpanContext> ParseB3Multi(const B3Headers& headers) {
  SpanContext context;
  if (!headers.sampled.empty() && !ReadSampled(headers.sampled, context)) context.sampled.reset();
  if (headers.flags == "1") {
    context.sampled = true;
    context.debug = true;
  }
  SpanContext with_ids = context;
  const bool ids = ReadB3TraceId(headers.trace_id, with_ids) && ReadSpanId(headers.span_id, with_ids.span_id);
  if (!ids) return context.sampled ? std::optional(context) : std::nullopt;
  if (!ReadSpanId(headers.parent_span_id, with_ids.parent_span_id)) with_ids.parent_span_id = {};
  return with_ids;
}

HeaderText TraceparentText(const SpanContext& context) {
  HeaderText text;
  char* at = std::ranges::copy(std::string_view("00-"), text.bytes_.data()).out;
  at = WriteHex(context.trace_id, at);
  *at++ = '-';
  at = WriteHex(context.span_id, at);
  at = std::ranges::copy(std::string_view(context.sampled.value_or(false) ? "-01" : "-00"), at).out;
  text.size_ = static_cast<size_t>(at - text.bytes_.data());
  return text;
}

HeaderText TraceIdText(const SpanContext& context) {
  HeaderText text;
  const std::span<const uint8_t> bytes = context.trace_id;
  char* end = WriteHex(context.short_trace_id ? bytes.subspan(8) : bytes, text.bytes_.data());
  text.size_ = static_cast<size_t>(end - text.bytes_.data());
  return text;
}

HeaderText SpanIdText(const SpanId& id) {
  HeaderText text;
  text.size_ = static_cast<size_t>(WriteHex(id, text.bytes_.data()) - text.bytes_.data());
  return text;
}

HeaderText B3Text(const SpanContext& context) {
  HeaderText text = TraceIdText(context);
  char* at = text.bytes_.data() + text.size_;
  *at++ = '-';
  at = WriteHex(context.span_id, at);
  if (context.sampled) {
    *at++ = '-';
    *at++ = context.debug ? 'd' : *context.sampled ? '1' : '0';
    if (!AllZero(context.parent_span_id)) {
      *at++ = '-';
      at = WriteHex(context.parent_span_id, at);
    }
  }
  text.size_ = static_cast<size_t>(at - text.bytes_.data());
  return text;
}

}  // namespace weft::telemetry
