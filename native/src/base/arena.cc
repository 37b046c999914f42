#include "base/arena.h"

#include <algorithm>

namespace weft {

void Arena::Grow(size_t n) {
  const size_t size = std::max(n, blocks_.empty() ? kBlockBytes : 2 * blocks_.back().size);
  blocks_.push_back({std::make_unique_for_overwrite<char[]>(size), size});
  held_ += size;
  next_ = blocks_.back().bytes.get();
  left_ = size;
}

void Arena::Reset() {
  if (blocks_.empty()) return;
  // A first block that one large message made is not worth keeping.
  if (blocks_.front().size > kBlockBytes) blocks_.clear();
  if (blocks_.size() > 1) blocks_.erase(blocks_.begin() + 1, blocks_.end());
  next_ = blocks_.empty() ? nullptr : blocks_.front().bytes.get();
  left_ = held_ = blocks_.empty() ? 0 : blocks_.front().size;
}

}  // namespace weft
