#include "telemetry/program.h"

#include <algorithm>
#include <cctype>

#include "l7.pb.h"

namespace weft::telemetry {
namespace {

constexpr uint32_t kAlways = 1'000'000;
// Each name costs a search in every request's headers.
constexpr int kMaxHeaders = 64;

std::string Lower(const std::string& name) {
  std::string lower = name;
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

void CompileTracing(const l7::Tracing& tracing, TelemetryProgram& program) {
  program.tracing = true;
  program.sampling_ppm = std::min(tracing.sampling_ppm(), kAlways);
  program.disable_spans = tracing.disable_spans();
  program.disable_propagation = tracing.disable_propagation();
  program.use_request_id = tracing.use_request_id();
  if (tracing.has_zipkin()) program.exporter = Exporter::kZipkin;
  if (tracing.has_otlp()) program.exporter = Exporter::kOtlp;
}

}  // namespace

Result<std::shared_ptr<const TelemetryProgram>> CompileTelemetry(std::string_view bytes) {
  l7::Telemetry message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return Error{EINVAL, "not a Telemetry message"};
  }
  if (message.request_headers_size() > kMaxHeaders || message.response_headers_size() > kMaxHeaders) {
    return Error{EINVAL, "more than 64 headers are asked for"};
  }
  auto program = std::make_shared<TelemetryProgram>();
  program->name = message.name();
  program->records = message.access_logs_size() > 0 || message.tags_of_requests();
  program->metrics_disabled = message.metrics_disabled();
  if (message.has_tracing()) CompileTracing(message.tracing(), *program);
  for (const std::string& name : message.request_headers()) program->request_headers.push_back(Lower(name));
  for (const std::string& name : message.response_headers()) program->response_headers.push_back(Lower(name));
  return std::shared_ptr<const TelemetryProgram>(std::move(program));
}

}  // namespace weft::telemetry
