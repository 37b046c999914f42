#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "proxy/events.h"

namespace weft::binding {

// The bounded way of events from the loops to `onEvents` on the JS thread. What JavaScript is too slow for is counted
// and reported, never waited for.
class EventRing final : public EventSink {
 public:
  // A node with 5,000 new connections a second fills this in 3 s of a blocked JS thread; about 10 MB.
  static constexpr size_t kCapacity = 16'384;

  EventRing(Napi::Env env, Napi::Function on_events);
  // Any thread.
  void OnEvents(std::vector<Event> events) override;
  // JS thread: no calls any more.
  void Close();

 private:
  // What is left when the function object outlives the ring.
  struct Shared {
    std::mutex mutex;
    std::vector<Event> events;  // guarded by mutex
    uint64_t lost = 0;          // guarded by mutex
    bool called = false;        // guarded by mutex: a call is on its way
  };
  static void Deliver(Napi::Env env, Napi::Function on_events, std::shared_ptr<Shared>* context, void*);
  using Callback = Napi::TypedThreadSafeFunction<std::shared_ptr<Shared>, void, Deliver>;

  std::shared_ptr<Shared> shared_;
  Callback callback_;
  bool closed_ = false;
};

}  // namespace weft::binding
