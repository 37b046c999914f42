#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/buffer.h"

namespace weft::l7 {

// What all exchanges of a loop may hold of request bodies that were sent already, in case they must be sent again.
struct RetainBudget {
  static constexpr size_t kLimit = size_t{64} * 1024 * 1024;
  size_t held = 0;
};

// A request's body between client and upstream: what was not sent yet, and for a request that may have to be sent again
// also what was. A body that grows beyond its bound is not kept, and can then not be repeated.
class RequestBuffer {
 public:
  // Of one body that is kept. Envoy's default.
  static constexpr size_t kMaxRetained = size_t{1024} * 1024;

  RequestBuffer(BufferPool& pool, RetainBudget& budget) : bytes_(pool), budget_(budget) {}
  ~RequestBuffer() { Reset(); }

  void Reset();
  // Keeps what will be sent.
  void Retain() { retaining_ = true; }
  // Keeps nothing more, and drops what was kept.
  void Release();
  void Append(std::span<const uint8_t> bytes);
  // Bytes that pass without a stay here.
  void Bypass() { whole_ = false; }
  std::span<const uint8_t> unsent() { return bytes_.bytes().subspan(sent_); }
  void Sent(size_t n);
  // All of the body that has come so far is here.
  bool whole() const { return whole_; }
  bool retaining() const { return retaining_; }
  std::span<const uint8_t> all() { return bytes_.bytes(); }
  // Everything is to be sent again. Only while it is whole().
  void Rewind() { sent_ = 0; }

 private:
  void Account();

  Buffer bytes_;
  RetainBudget& budget_;
  size_t sent_ = 0;
  size_t counted_ = 0;  // in the budget
  bool retaining_ = false;
  bool whole_ = true;
};

}  // namespace weft::l7
