#include "l7/exchange_pool.h"

#include "l7/exchange.h"
#include "l7/services.h"

namespace weft::l7 {

ExchangePool::ExchangePool(LoopServices& services) : services_(services), recycle_([this] { Recycle(); }) {}

ExchangePool::~ExchangePool() {
  for (IntrusiveList<Exchange>* list : {&used_, &over_, &free_}) {
    while (Exchange* exchange = list->PopFront()) delete exchange;
  }
}

Exchange& ExchangePool::Take() {
  Exchange* exchange = free_.PopFront();
  if (exchange != nullptr) {
    --free_count_;
  } else {
    exchange = std::make_unique<Exchange>(services_).release();
  }
  used_.PushBack(exchange->link_);
  return *exchange;
}

void ExchangePool::GiveBack(Exchange& exchange) {
  over_.PushBack(exchange.link_);
  services_.context.loop.AtEndOfTurn(recycle_);
}

void ExchangePool::Recycle() {
  while (Exchange* exchange = over_.PopFront()) {
    if (free_count_ >= kMaxFree) {
      delete exchange;
      continue;
    }
    exchange->Reset();
    free_.PushBack(exchange->link_);
    ++free_count_;
  }
}

}  // namespace weft::l7
