#include "telemetry/loop_telemetry.h"

namespace weft::telemetry {
namespace {

bool Counted(const l7::RequestRecord& record) {
  return record.telemetry == nullptr || !record.telemetry->metrics_disabled;
}

bool WantedByJavaScript(const l7::RequestRecord& record) {
  const TelemetryProgram* program = record.telemetry;
  if (program == nullptr) return false;
  return program->records || record.has_dry_run() || (record.sampled && !program->disable_spans);
}

}  // namespace

void LoopTelemetry::OnRecord(const l7::RequestRecord& record) {
  if (Counted(record)) book_.Ended(record);
  if (WantedByJavaScript(record)) ring_.Append(record);
}

void LoopTelemetry::OnTcpOpened(const l7::RequestRecord& record) {
  if (Counted(record)) book_.TcpOpened(record);
}

void LoopTelemetry::OnTcpProgress(const l7::RequestRecord& record, uint64_t received, uint64_t sent) {
  if (Counted(record)) book_.TcpProgress(record, received, sent);
}

}  // namespace weft::telemetry
