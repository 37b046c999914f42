#include "binding/call_promise.h"

#include <cstring>
#include <memory>
#include <utility>

#include "binding/values.h"

namespace weft::binding {
namespace {

security::CallRequest ToRequest(const Napi::Object& from) {
  security::CallRequest request;
  request.path = Text(from, "path");
  request.authority = Text(from, "authority");
  request.grpc = Flag(from, "grpc", false);
  request.timeout_ms = static_cast<uint64_t>(Number(from, "timeoutMs"));
  if (const Napi::Value value = from.Get("headers"); value.IsObject()) {
    const Napi::Object headers = value.As<Napi::Object>();
    const Napi::Array names = headers.GetPropertyNames();
    for (uint32_t i = 0; i < names.Length(); ++i) {
      std::string name = names.Get(i).ToString().Utf8Value();
      std::string text = Text(headers, name.c_str());
      request.headers.emplace_back(std::move(name), std::move(text));
    }
  }
  if (const Napi::Value body = from.Get("body"); body.IsTypedArray()) {
    const Napi::TypedArray bytes = body.As<Napi::TypedArray>();
    const auto* const data = static_cast<const char*>(bytes.ArrayBuffer().Data()) + bytes.ByteOffset();
    request.body.assign(data, bytes.ByteLength());
  }
  return request;
}

Napi::Object FromAnswer(Napi::Env env, const security::CallAnswer& answer) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("failure", answer.failure);
  object.Set("status", Napi::Number::New(env, answer.status));
  return object;
}

}  // namespace

Napi::Value CallPromise(Napi::Env env, waypoint::L7Engine& engine, const Napi::Value& from) {
  const Napi::Object options = from.As<Napi::Object>();
  auto deferred = std::make_shared<Napi::Promise::Deferred>(env);
  using Resolve = Napi::ThreadSafeFunction;
  Resolve resolve = Resolve::New(env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}), "weft call", 0, 1);
  engine.Call(Text(options, "cluster"), ToRequest(options), [resolve, deferred](security::CallAnswer answer) mutable {
    auto shared = std::make_shared<security::CallAnswer>(std::move(answer));
    resolve.BlockingCall([deferred, shared](Napi::Env done_env, Napi::Function) {
      if (done_env != nullptr) deferred->Resolve(FromAnswer(done_env, *shared));
    });
    resolve.Release();
  });
  return deferred->Promise();
}

}  // namespace weft::binding
