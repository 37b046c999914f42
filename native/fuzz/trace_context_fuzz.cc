// Trace headers as clients send them: whatever is accepted must be written back as something that reads the same.
#include "fuzz/byte_source.h"
#include "fuzz/fuzz_target.h"
#include "telemetry/request_id.h"
#include "telemetry/trace_context.h"

WEFT_FUZZ_TARGET("trace-context") {
  using namespace weft::telemetry;
  const std::string_view text = weft::fuzz::AsText(input);
  if (const auto context = ParseTraceparent(text)) {
    FUZZ_CHECK(context->has_ids() && context->sampled.has_value());
    FUZZ_CHECK(ParseTraceparent(TraceparentText(*context).view()) == context);
  }
  if (const auto context = ParseB3(text)) {
    FUZZ_CHECK(context->has_ids() || context->sampled.has_value());
    if (context->has_ids()) FUZZ_CHECK(ParseB3(B3Text(*context).view()) == context);
  }
  const size_t half = text.size() / 2;
  const B3Headers multi{text.substr(0, half), text.substr(half), text, text.substr(0, 1), text.substr(half, 1)};
  if (const auto context = ParseB3Multi(multi)) FUZZ_CHECK(context->has_ids() || context->sampled.has_value());
  if (ReadTraceReason(text)) {
    FUZZ_CHECK(text.size() == kRequestIdBytes);
    FUZZ_CHECK(!FallsIntoShare(text, 0) && FallsIntoShare(text, 1'000'000));
  }
}
