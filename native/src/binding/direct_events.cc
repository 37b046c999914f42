#include "binding/direct_events.h"

#include <cstring>
#include <utility>

namespace weft::binding {

Result<std::unique_ptr<DirectEvents>> DirectEvents::Start(Napi::Env env, const BpfPlane& plane,
                                                          Napi::Function on_events) {
  std::unique_ptr<DirectEvents> events(new DirectEvents(env));
  // Freed with the function object, which may be after all of this.
  auto* context = new Context;
  events->callback_ = Callback::New(
      env, on_events, "weft direct events", 0, 1, context,
      [](Napi::Env, void*, Context* finalized) { delete finalized; }, static_cast<void*>(nullptr));
  events->callback_.Unref(env);  // an open plane does not keep the process alive by its events
  Result<std::unique_ptr<EventReader>> reader =
      plane.ReadEvents([callback = events->callback_] { callback.NonBlockingCall(); });
  if (!reader) {
    events->callback_.Release();
    return reader.error();
  }
  context->reader = events->reader_ = std::move(*reader);
  events->cleanup_ = env.AddCleanupHook(
      +[](DirectEvents* self) {
        self->cleanup_ = {};  // a hook that has run must not be removed
        self->Stop();
      },
      events.get());
  return events;
}

DirectEvents::~DirectEvents() {
  if (!cleanup_.IsEmpty()) cleanup_.Remove(env_);
  Stop();
}

void DirectEvents::Stop() {
  if (!reader_) return;
  reader_->Stop();
  reader_.reset();
  callback_.Release();
}

void DirectEvents::Deliver(Napi::Env env, Napi::Function on_events, Context* context, void*) {
  if (env == nullptr || on_events == nullptr) return;  // the environment is going away
  const std::vector<weft_event> events = context->reader->Take();
  if (events.empty()) return;
  const Napi::HandleScope scope(env);
  on_events.Call({FromEvents(env, events)});
}

Napi::Uint8Array FromEvents(Napi::Env env, const std::vector<weft_event>& events) {
  const size_t size = events.size() * sizeof(weft_event);
  Napi::Uint8Array bytes = Napi::Uint8Array::New(env, size);
  if (size > 0) std::memcpy(bytes.Data(), events.data(), size);
  return bytes;
}

}  // namespace weft::binding
