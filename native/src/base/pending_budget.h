#pragma once

#include <cstddef>

namespace weft {

// What all stalled connections of a loop may hold together, shared out among their pods: each pod may hold as much as
// is still free (dynamic thresholds, as switches share their buffers). A single one gets half of it, and however many
// pods take all they can, the next one finds room.
class PendingBudget {
 public:
  explicit PendingBudget(size_t limit) : limit_(limit) {}
  size_t held() const { return held_; }

 private:
  friend class PendingShare;
  size_t limit_;
  size_t held_ = 0;
};

// One pod's part. Outlives the connections that use it.
class PendingShare {
 public:
  explicit PendingShare(PendingBudget& budget) : budget_(budget) {}

  // Counts `n` more bytes; false, and nothing is counted, when they would be more than the pod's part.
  bool Take(size_t n) {
    if (held_ + n > budget_.limit_ - budget_.held_) return false;
    held_ += n;
    budget_.held_ += n;
    return true;
  }
  void Give(size_t n) {
    held_ -= n;
    budget_.held_ -= n;
  }

 private:
  PendingBudget& budget_;
  size_t held_ = 0;
};

}  // namespace weft
