#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace weft {

// Memory blocks of one loop in a few sizes. Blocks that come back are kept up to a bound, the rest is freed, so an
// idle loop holds next to nothing. Not thread-safe: one per loop.
class BufferPool {
 public:
  static constexpr size_t kClasses = 8;
  static constexpr size_t kSmallest = 4096;
  // What a loop keeps for reuse; enough for one turn of a busy loop, small beside the process.
  static constexpr size_t kKeepBytes = 2 * 1024 * 1024;

  BufferPool() = default;
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  ~BufferPool() { Trim(); }

  // A block of at least `size` bytes; `size` becomes its true size.
  uint8_t* Take(size_t* size);
  void Give(uint8_t* block, size_t size);
  // Frees what is kept.
  void Trim();
  // Bytes that are kept for reuse.
  size_t kept() const { return kept_; }
  // Bytes in blocks that are in use.
  size_t in_use() const { return in_use_; }

 private:
  static size_t ClassOf(size_t size);
  std::vector<uint8_t*> free_[kClasses];
  size_t kept_ = 0;
  size_t in_use_ = 0;
};

// A queue of bytes in one contiguous block of a pool; holds no block while empty.
class Buffer {
 public:
  explicit Buffer(BufferPool& pool) : pool_(&pool) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { Clear(); }

  bool empty() const { return begin_ == end_; }
  size_t size() const { return end_ - begin_; }
  uint8_t* data() { return block_ + begin_; }
  std::span<uint8_t> bytes() { return {block_ + begin_, size()}; }

  // Room for at least `n` bytes after the end; write there, then Commit what was written.
  uint8_t* Reserve(size_t n);
  void Commit(size_t n) { end_ += n; }
  void Append(std::span<const uint8_t> bytes) {
    if (bytes.empty()) return;
    std::memcpy(Reserve(bytes.size()), bytes.data(), bytes.size());
    Commit(bytes.size());
  }
  // Drops `n` bytes at the front.
  void Consume(size_t n) {
    begin_ += n;
    if (begin_ == end_) Clear();
  }
  void Clear();

 private:
  BufferPool* pool_;
  uint8_t* block_ = nullptr;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace weft
