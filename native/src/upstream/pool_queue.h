#pragma once

#include <cstddef>
#include <memory>

#include "base/intrusive_list.h"
#include "upstream/cluster.h"
#include "upstream/shared_state.h"

namespace weft::upstream {

// Those who wait for a connection of one pool, in order. Each counts among the cluster's pending requests for as long
// as it waits, however that ends.
class PoolQueue {
 public:
  explicit PoolQueue(std::shared_ptr<ClusterCounters> counters) : counters_(std::move(counters)) {}
  ~PoolQueue() {
    while (PopFront() != nullptr) {
    }
  }

  // False: too many wait already.
  bool Push(PoolWaiter& waiter, uint32_t max_pending) {
    if (!TakeOne(counters_->pending, max_pending)) return false;
    waiter.queue_ = this;
    waiters_.PushBack(waiter.link_);
    ++size_;
    return true;
  }
  PoolWaiter* PopFront() {
    PoolWaiter* const waiter = waiters_.PopFront();
    if (waiter != nullptr) Left(*waiter);
    return waiter;
  }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  friend class PoolWaiter;
  void Left(PoolWaiter& waiter) {
    waiter.queue_ = nullptr;
    --size_;
    GiveOne(counters_->pending);
  }

  std::shared_ptr<ClusterCounters> counters_;
  IntrusiveList<PoolWaiter> waiters_;
  size_t size_ = 0;
};

}  // namespace weft::upstream
