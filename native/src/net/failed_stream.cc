#include "net/failed_stream.h"

#include <utility>

namespace weft {

FailedStream::FailedStream(LoopContext& context, StreamEnd end, std::string detail)
    : context_(context), end_(end), detail_(std::move(detail)), out_(context.buffers), report_task_([this] {
        handler_->OnStreamDown(end_, detail_);
      }) {}

Status FailedStream::Begin() {
  context_.loop.NextTurn(report_task_);
  return Ok{};
}

}  // namespace weft
