#include "binding/event_ring.h"

#include <utility>

#include "binding/convert.h"

namespace weft::binding {

EventRing::EventRing(Napi::Env env, Napi::Function on_events) : shared_(std::make_shared<Shared>()) {
  // The context is freed with the function object, which may be after this ring.
  auto* context = new std::shared_ptr<Shared>(shared_);
  callback_ = Callback::New(
      env, on_events, "weft events", 0, 1, context,
      [](Napi::Env, void*, std::shared_ptr<Shared>* finalized) { delete finalized; }, static_cast<void*>(nullptr));
  callback_.Unref(env);  // an open engine does not keep the process alive by its events
}

void EventRing::OnEvents(std::vector<Event> events) {
  {
    std::lock_guard lock(shared_->mutex);
    for (Event& event : events) {
      if (shared_->events.size() >= kCapacity) {
        ++shared_->lost;
      } else {
        shared_->events.push_back(std::move(event));
      }
    }
    if (std::exchange(shared_->called, true)) return;
  }
  if (callback_.NonBlockingCall() != napi_ok) {
    std::lock_guard lock(shared_->mutex);
    shared_->called = false;
  }
}

void EventRing::Deliver(Napi::Env env, Napi::Function on_events, std::shared_ptr<Shared>* context, void*) {
  if (env == nullptr || on_events == nullptr) return;  // the environment is going away
  Shared& shared = **context;
  std::vector<Event> events;
  uint64_t lost = 0;
  {
    std::lock_guard lock(shared.mutex);
    events.swap(shared.events);
    lost = std::exchange(shared.lost, 0);
    shared.called = false;
  }
  if (lost > 0) events.push_back(EventsLost{lost});
  if (events.empty()) return;
  const Napi::HandleScope scope(env);
  Napi::Array array = Napi::Array::New(env, events.size());
  for (uint32_t i = 0; i < events.size(); ++i) {
    const Napi::HandleScope event_scope(env);
    array.Set(i, FromEvent(env, events[i]));
  }
  on_events.Call({array});
}

void EventRing::Close() {
  if (!std::exchange(closed_, true)) callback_.Release();
}

}  // namespace weft::binding
