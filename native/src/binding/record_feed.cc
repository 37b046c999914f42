#include "binding/record_feed.h"

#include <cstring>
#include <utility>
#include <vector>

namespace weft::binding {

RecordFeed::RecordFeed(Napi::Env env, Napi::Function on_records)
    : queue_(std::make_shared<telemetry::RecordQueue>([this] { callback_.NonBlockingCall(); })),
      on_records_(Napi::Persistent(on_records)) {
  // The context is freed with the function object, which may be after this feed.
  auto* context = new std::shared_ptr<telemetry::RecordQueue>(queue_);
  callback_ = Callback::New(
      env, on_records, "weft records", 0, 1, context,
      [](Napi::Env, void*, std::shared_ptr<telemetry::RecordQueue>* finalized) { delete finalized; },
      static_cast<void*>(nullptr));
  callback_.Unref(env);  // an open engine does not keep the process alive by its records
}

void RecordFeed::Deliver(Napi::Env env, Napi::Function on_records, std::shared_ptr<telemetry::RecordQueue>* context,
                         void*) {
  if (env == nullptr || on_records == nullptr) return;  // the environment is going away
  Hand(env, on_records, **context);
}

void RecordFeed::Hand(Napi::Env env, const Napi::Function& on_records, telemetry::RecordQueue& queue) {
  const std::vector<uint8_t> batch = queue.Take();
  if (batch.empty()) return;
  const Napi::HandleScope scope(env);
  // Copied: V8 may be built with a cage that no foreign memory can be in.
  Napi::Uint8Array array = Napi::Uint8Array::New(env, batch.size());
  std::memcpy(array.Data(), batch.data(), batch.size());
  on_records.Call({array});
}

void RecordFeed::Flush(Napi::Env env) {
  if (!closed_) Hand(env, on_records_.Value(), *queue_);
}

void RecordFeed::Close(Napi::Env env) {
  Flush(env);
  Abandon();
}

void RecordFeed::Abandon() {
  if (!std::exchange(closed_, true)) callback_.Release();
}

}  // namespace weft::binding
