#include "binding/l7_engine.h"

#include <cstring>
#include <memory>
#include <utility>

#include "binding/call_promise.h"
#include "binding/convert.h"
#include "binding/drain_promise.h"
#include "binding/l7_convert.h"
#include "binding/record_feed.h"
#include "binding/values.h"
#include "waypoint/l7_engine.h"

namespace weft::binding {
namespace {

using waypoint::L7Engine;
using waypoint::L7Options;

// The JS object. The engine is closed by close(), by garbage collection or when the environment ends, whichever is
// first: its threads never outlive the JS side.
class L7EngineObject final : public Napi::ObjectWrap<L7EngineObject> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(
        env, "L7Engine",
        {InstanceMethod<&L7EngineObject::Listening>("listening"),
         InstanceMethod<&L7EngineObject::SetIdentity>("setIdentity"), InstanceMethod<&L7EngineObject::Apply>("apply"),
         InstanceMethod<&L7EngineObject::Series>("series"), InstanceMethod<&L7EngineObject::Stats>("stats"),
         InstanceMethod<&L7EngineObject::FlushRecords>("flushRecords"), InstanceMethod<&L7EngineObject::Call>("call"),
         InstanceMethod<&L7EngineObject::Drain>("drain"), InstanceMethod<&L7EngineObject::Close>("close")});
  }

  explicit L7EngineObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<L7EngineObject>(info) {
    if (Status status = Begin(info); !status) Throw(info.Env(), status.error());
  }

  ~L7EngineObject() override { Shut(); }

  void Finalize(Napi::BasicEnv env) override {
    if (!cleanup_.IsEmpty()) cleanup_.Remove(env);
    Shut();
  }

 private:
  Status Begin(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    if (!info[0].IsObject()) return Error{EINVAL, "no options"};
    const Napi::Object from = info[0].As<Napi::Object>();
    const Napi::Value on_records = from.Get("onRecords");
    if (!on_records.IsFunction()) return Error{EINVAL, "onRecords is not a function"};
    Result<L7Options> options = ToL7Options(from);
    if (!options) return options.error();
    feed_ = std::make_unique<RecordFeed>(env, on_records.As<Napi::Function>());
    options->records = feed_->queue();
    Result<std::unique_ptr<L7Engine>> engine = L7Engine::Create(std::move(*options));
    if (!engine) {
      feed_->Abandon();
      return engine.error();
    }
    engine_ = std::move(*engine);
    cleanup_ = env.AddCleanupHook(
        +[](L7EngineObject* self) {
          self->cleanup_ = {};  // a hook that has run must not be removed
          self->Shut();
        },
        this);
    return Ok{};
  }

  // Null with an exception pending after close().
  L7Engine* Open(Napi::Env env) {
    if (!engine_) Throw(env, Error{EBADF, "the engine is closed"});
    return engine_.get();
  }

  Napi::Value Listening(const Napi::CallbackInfo& info) {
    L7Engine* engine = Open(info.Env());
    if (engine == nullptr) return {};
    return FromListening(info.Env(), engine->Listening());
  }

  Napi::Value SetIdentity(const Napi::CallbackInfo& info) {
    L7Engine* engine = Open(info.Env());
    if (engine == nullptr) return {};
    const Napi::Object from = info[0].As<Napi::Object>();
    const Status status =
        engine->SetIdentity(Text(from, "id"), Text(from, "chain"), Text(from, "key"), Text(from, "roots"));
    if (!status) Throw(info.Env(), status.error());
    return info.Env().Undefined();
  }

  Napi::Value Apply(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    L7Engine* engine = Open(env);
    if (engine == nullptr) return {};
    const Result<std::vector<l7::ResourceUpdate>> updated = ToL7Updates(info[0]);
    const Result<std::vector<l7::ResourceName>> removed = ToL7Names(info[1]);
    if (!updated || !removed) {
      Throw(env, updated ? removed.error() : updated.error());
      return {};
    }
    return FromRejections(env, engine->Apply(*updated, *removed));
  }

  Napi::Value Series(const Napi::CallbackInfo& info) {
    L7Engine* engine = Open(info.Env());
    if (engine == nullptr) return {};
    const std::vector<uint8_t> bytes = engine->Series();
    Napi::Uint8Array array = Napi::Uint8Array::New(info.Env(), bytes.size());
    std::memcpy(array.Data(), bytes.data(), bytes.size());
    return array;
  }

  Napi::Value Stats(const Napi::CallbackInfo& info) {
    L7Engine* engine = Open(info.Env());
    if (engine == nullptr) return {};
    return FromL7Stats(info.Env(), engine->Stats());
  }

  Napi::Value FlushRecords(const Napi::CallbackInfo& info) {
    L7Engine* engine = Open(info.Env());
    if (engine == nullptr) return {};
    engine->FlushRecords();
    feed_->Flush(info.Env());
    return info.Env().Undefined();
  }

  Napi::Value Call(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    L7Engine* engine = Open(env);
    if (engine == nullptr) return {};
    if (!info[0].IsObject()) {
      Throw(env, Error{EINVAL, "no request"});
      return {};
    }
    return CallPromise(env, *engine, info[0]);
  }

  Napi::Value Drain(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    L7Engine* engine = Open(env);
    if (engine == nullptr) return {};
    return DrainPromise(env, *engine, info[0]);
  }

  Napi::Value Close(const Napi::CallbackInfo& info) {
    if (engine_) {
      engine_->Close();
      engine_.reset();
      feed_->Close(info.Env());
    }
    return info.Env().Undefined();
  }

  // Where JavaScript can be called no more.
  void Shut() {
    if (!engine_) return;
    engine_->Close();
    engine_.reset();
    feed_->Abandon();
  }

  std::unique_ptr<RecordFeed> feed_;
  std::unique_ptr<L7Engine> engine_;
  Napi::Env::CleanupHook<void (*)(L7EngineObject*), L7EngineObject> cleanup_;
};

}  // namespace

void InitL7Engine(Napi::Env env, Napi::Object exports, Constructors& constructors) {
  constructors.l7_engine = Napi::Persistent(L7EngineObject::Define(env));
  exports.Set("createL7Engine", Napi::Function::New(env, [](const Napi::CallbackInfo& info) -> Napi::Value {
                return info.Env().GetInstanceData<Constructors>()->l7_engine.New({info[0]});
              }));
}

}  // namespace weft::binding
