#include "net/failed_stream.h"

#include <utility>

namespace weft {

FailedStream::FailedStream(LoopContext& context, const SocketAddress& remote, StreamEnd end, std::string detail)
    : context_(context), end_(end), detail_(std::move(detail)), out_(context.buffers), report_task_([this] {
        if (handler_ != nullptr) handler_->OnStreamDown(end_, detail_);
      }) {
  info_.remote = remote;
}

Status FailedStream::Begin() {
  context_.loop.NextTurn(report_task_);
  return Ok{};
}

}  // namespace weft
