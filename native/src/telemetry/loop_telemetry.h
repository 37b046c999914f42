#pragma once

#include <memory>
#include <utility>

#include "l7/record.h"
#include "telemetry/hooks.h"
#include "telemetry/record_ring.h"
#include "telemetry/series_book.h"

namespace weft::telemetry {

// Everything that telemetry does on one loop: what a loop's exchanges and TCP connections are given.
class LoopTelemetry final : public l7::RecordSink {
 public:
  LoopTelemetry(EpollLoop& loop, std::shared_ptr<RecordQueue> queue) : ring_(loop, std::move(queue)) {}

  void OnRecord(const l7::RequestRecord& record) override;
  void OnTcpOpened(const l7::RequestRecord& record) override;
  void OnTcpProgress(const l7::RequestRecord& record, uint64_t received, uint64_t sent) override;

  void FlushRecords() { ring_.Flush(); }
  Hooks& hooks() { return hooks_; }
  const SeriesBook& book() const { return book_; }

 private:
  Hooks hooks_;
  SeriesBook book_;
  RecordRing ring_;
};

}  // namespace weft::telemetry
