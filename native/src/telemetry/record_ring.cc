#include "telemetry/record_ring.h"

#include <utility>

#include "telemetry/record_codec.h"

namespace weft::telemetry {

RecordRing::RecordRing(EpollLoop& loop, std::shared_ptr<RecordQueue> queue)
    : loop_(loop), queue_(std::move(queue)), timer_([this] { Flush(); }) {}

void RecordRing::Append(const l7::RequestRecord& record) {
  EncodeRecord(record, bytes_);
  ++records_;
  if (bytes_.size() >= kFlushBytes) {
    Flush();
  } else if (!timer_.armed()) {
    loop_.Arm(timer_, kFlushMs);
  }
}

void RecordRing::Flush() {
  if (records_ > 0) queue_->Put(bytes_, std::exchange(records_, 0));
}

}  // namespace weft::telemetry
