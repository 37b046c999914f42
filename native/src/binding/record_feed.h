#pragma once

#include <napi.h>

#include <memory>

#include "telemetry/record_queue.h"

namespace weft::binding {

// Hands the records of all loops to `onRecords` on the JS thread, as one Uint8Array per call. Made and closed on the JS
// thread; closed after the loops have ended, since a loop that has records calls into it.
class RecordFeed final {
 public:
  RecordFeed(Napi::Env env, Napi::Function on_records);
  // For the loops.
  const std::shared_ptr<telemetry::RecordQueue>& queue() const { return queue_; }
  // Hands over what is queued, at once.
  void Flush(Napi::Env env);
  // Hands over what the loops left behind when they ended, then makes no calls.
  void Close(Napi::Env env);
  // The same where JavaScript cannot be called any more: what is left is lost.
  void Abandon();

 private:
  static void Deliver(Napi::Env env, Napi::Function on_records, std::shared_ptr<telemetry::RecordQueue>* context,
                      void*);
  static void Hand(Napi::Env env, const Napi::Function& on_records, telemetry::RecordQueue& queue);
  using Callback = Napi::TypedThreadSafeFunction<std::shared_ptr<telemetry::RecordQueue>, void, Deliver>;

  Callback callback_;
  std::shared_ptr<telemetry::RecordQueue> queue_;
  Napi::FunctionReference on_records_;
  bool closed_ = false;
};

}  // namespace weft::binding
