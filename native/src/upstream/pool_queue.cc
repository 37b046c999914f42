#include "upstream/pool_queue.h"

namespace weft::upstream {

void PoolWaiter::GiveUp() {
  link_.Unlink();
  if (queue_ != nullptr) queue_->Left(*this);
}

}  // namespace weft::upstream
