#include "base/buffer.h"

#include <bit>
#include <cstdlib>

namespace weft {

size_t BufferPool::ClassOf(size_t size) {
  if (size <= kSmallest) return 0;
  return static_cast<size_t>(std::bit_width((size - 1) / kSmallest));
}

uint8_t* BufferPool::Take(size_t* size) {
  const size_t index = ClassOf(*size);
  *size = index < kClasses ? kSmallest << index : *size;
  in_use_ += *size;
  if (index < kClasses && !free_[index].empty()) {
    uint8_t* block = free_[index].back();
    free_[index].pop_back();
    kept_ -= *size;
    return block;
  }
  auto* block = static_cast<uint8_t*>(std::malloc(*size));
  if (block == nullptr) std::abort();  // the process is out of memory; nothing sensible can follow
  return block;
}

void BufferPool::Give(uint8_t* block, size_t size) {
  in_use_ -= size;
  const size_t index = ClassOf(size);
  if (index >= kClasses || kept_ + size > kKeepBytes) {
    std::free(block);
    return;
  }
  free_[index].push_back(block);
  kept_ += size;
}

void BufferPool::Trim() {
  for (auto& blocks : free_) {
    for (uint8_t* block : blocks) std::free(block);
    blocks.clear();
    blocks.shrink_to_fit();
  }
  kept_ = 0;
}

uint8_t* Buffer::Reserve(size_t n) {
  if (end_ + n <= capacity_) return block_ + end_;
  const size_t held = size();
  // Move to the front when half of the block is free there; else grow.
  if (held + n <= capacity_ && begin_ >= capacity_ / 2) {
    std::memmove(block_, block_ + begin_, held);
  } else {
    size_t capacity = held + n;
    uint8_t* block = pool_->Take(&capacity);
    if (held > 0) std::memcpy(block, block_ + begin_, held);
    if (block_ != nullptr) pool_->Give(block_, capacity_);
    block_ = block;
    capacity_ = capacity;
  }
  begin_ = 0;
  end_ = held;
  return block_ + end_;
}

void Buffer::Clear() {
  if (block_ != nullptr) pool_->Give(block_, capacity_);
  block_ = nullptr;
  capacity_ = begin_ = end_ = 0;
}

}  // namespace weft
