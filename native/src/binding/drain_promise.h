#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>

namespace weft::binding {

// Drains `engine` until `deadline_ms` (a JS number); the promise resolves on the JS thread when it is done.
template <typename Engine>
Napi::Value DrainPromise(Napi::Env env, Engine& engine, const Napi::Value& deadline_ms) {
  auto deferred = std::make_shared<Napi::Promise::Deferred>(env);
  using Resolve = Napi::ThreadSafeFunction;
  Resolve resolve = Resolve::New(env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}), "weft drain", 0, 1);
  engine.Drain(static_cast<uint64_t>(deadline_ms.ToNumber().Int64Value()), [resolve, deferred]() mutable {
    resolve.BlockingCall([deferred](Napi::Env done_env, Napi::Function) {
      if (done_env != nullptr) deferred->Resolve(done_env.Undefined());
    });
    resolve.Release();
  });
  return deferred->Promise();
}

}  // namespace weft::binding
