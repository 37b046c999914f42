#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "base/result.h"
#include "bpf/bpf_plane.h"

namespace weft::binding {

// The way of direct connections' records to `onDirectEvents` on the JS thread. Bounded by one batch: while JavaScript
// is busy records wait in the kernel's ring, and are counted there when it is full.
class DirectEvents final {
 public:
  static Result<std::unique_ptr<DirectEvents>> Start(Napi::Env env, const BpfPlane& plane, Napi::Function on_events);
  // JS thread: no calls any more.
  ~DirectEvents();

 private:
  // Idempotent. Comes by itself when the environment ends first: the reader's thread never outlives it.
  void Stop();

  // Filled after the function object, which has to be there first, and read on the JS thread only.
  struct Context {
    std::shared_ptr<EventReader> reader;
  };
  static void Deliver(Napi::Env env, Napi::Function on_events, Context* context, void*);
  using Callback = Napi::TypedThreadSafeFunction<Context, void, Deliver>;

  explicit DirectEvents(Napi::Env env) : env_(env) {}

  Napi::Env env_;
  Callback callback_;
  std::shared_ptr<EventReader> reader_;
  Napi::Env::CleanupHook<void (*)(DirectEvents*), DirectEvents> cleanup_;
};

// The structs one after the other.
Napi::Uint8Array FromEvents(Napi::Env env, const std::vector<weft_event>& events);

}  // namespace weft::binding
