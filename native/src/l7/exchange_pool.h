#pragma once

#include <cstddef>
#include <memory>

#include "base/intrusive_list.h"
#include "loop/epoll_loop.h"

namespace weft::l7 {

class Exchange;
struct LoopServices;

// The exchanges of a loop. One that is over is used again, with all that it has allocated; it changes hands at the end
// of the turn, when nothing of it can be on the stack any more.
class ExchangePool {
 public:
  // What is kept for reuse; some kilobytes each.
  static constexpr size_t kMaxFree = 512;

  explicit ExchangePool(LoopServices& services);
  ~ExchangePool();

  Exchange& Take();
  void GiveBack(Exchange& exchange);

 private:
  void Recycle();

  LoopServices& services_;
  IntrusiveList<Exchange> used_;
  IntrusiveList<Exchange> over_;
  IntrusiveList<Exchange> free_;
  size_t free_count_ = 0;
  TurnTask recycle_;
};

}  // namespace weft::l7
