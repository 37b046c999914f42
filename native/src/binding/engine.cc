#include "binding/engine.h"

#include <memory>
#include <optional>
#include <utility>

#include "binding/bpf.h"
#include "binding/convert.h"
#include "binding/drain_promise.h"
#include "binding/event_ring.h"
#include "proxy/engine.h"

namespace weft::binding {
namespace {

// The JS object. The engine is closed by close(), by garbage collection or when the environment ends, whichever is
// first: its threads never outlive the JS side.
class EngineObject final : public Napi::ObjectWrap<EngineObject> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(
        env, "Engine",
        {InstanceMethod<&EngineObject::AddPod>("addPod"), InstanceMethod<&EngineObject::RemovePod>("removePod"),
         InstanceMethod<&EngineObject::OpenDnsSockets>("openDnsSockets"), InstanceMethod<&EngineObject::Apply>("apply"),
         InstanceMethod<&EngineObject::Evaluate>("evaluate"), InstanceMethod<&EngineObject::Connections>("connections"),
         InstanceMethod<&EngineObject::Stats>("stats"), InstanceMethod<&EngineObject::Drain>("drain"),
         InstanceMethod<&EngineObject::Close>("close")});
  }

  explicit EngineObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineObject>(info) {
    if (Status status = Begin(info); !status) Throw(info.Env(), status.error());
  }

  ~EngineObject() override { Shut(); }

  void Finalize(Napi::BasicEnv env) override {
    if (!cleanup_.IsEmpty()) cleanup_.Remove(env);
    Shut();
  }

 private:
  Status Begin(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    const Napi::Object options = info[0].As<Napi::Object>();
    const Napi::Value on_events = options.Get("onEvents");
    if (!on_events.IsFunction()) return Error{EINVAL, "onEvents is not a function"};
    std::shared_ptr<Capture> capture;
    if (info.Length() > 1 && !info[1].IsNull() && !info[1].IsUndefined()) {
      capture = UnwrapCapture(info[1]);
      if (!capture) return Error{EINVAL, "bpf is not an open BPF plane"};
    }
    ring_ = std::make_unique<EventRing>(env, on_events.As<Napi::Function>());
    Result<std::unique_ptr<Engine>> engine = Engine::Create(ToLimits(options), std::move(capture), *ring_);
    if (!engine) {
      ring_->Close();
      return engine.error();
    }
    engine_ = std::move(*engine);
    cleanup_ = env.AddCleanupHook(
        +[](EngineObject* self) {
          self->cleanup_ = {};  // a hook that has run must not be removed
          self->Shut();
        },
        this);
    return Ok{};
  }

  // Null with an exception pending after close().
  Engine* Open(Napi::Env env) {
    if (!engine_) Throw(env, Error{EBADF, "the engine is closed"});
    return engine_.get();
  }

  Napi::Value AddPod(const Napi::CallbackInfo& info) {
    Engine* engine = Open(info.Env());
    if (engine == nullptr) return {};
    Result<PodConfig> config = ToPodConfig(info[0].As<Napi::Object>());
    const Status status = config ? engine->AddPod(std::move(*config)) : Status(config.error());
    if (!status) Throw(info.Env(), status.error());
    return info.Env().Undefined();
  }

  Napi::Value RemovePod(const Napi::CallbackInfo& info) {
    if (Engine* engine = Open(info.Env())) engine->RemovePod(static_cast<PodId>(info[0].ToNumber().Int64Value()));
    return info.Env().Undefined();
  }

  Napi::Value OpenDnsSockets(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    Engine* engine = Open(env);
    if (engine == nullptr) return {};
    Result<DnsSockets> sockets = engine->OpenDnsSockets(static_cast<PodId>(info[0].ToNumber().Int64Value()));
    if (!sockets) {
      Throw(env, sockets.error());
      return {};
    }
    const auto hand_over = [&](std::vector<UniqueFd>& fds) {
      Napi::Array array = Napi::Array::New(env, fds.size());
      for (uint32_t i = 0; i < fds.size(); ++i) array.Set(i, Napi::Number::New(env, fds[i].Release()));
      return array;
    };
    Napi::Object result = Napi::Object::New(env);
    result.Set("udp", hand_over(sockets->udp));
    result.Set("tcp", hand_over(sockets->tcp));
    return result;
  }

  Napi::Value Apply(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    Engine* engine = Open(env);
    if (engine == nullptr) return {};
    const Napi::Array array = info[0].As<Napi::Array>();
    std::vector<Command> commands;
    commands.reserve(array.Length());
    for (uint32_t i = 0; i < array.Length(); ++i) {
      const Napi::HandleScope scope(env);
      const Napi::Value value = array.Get(i);
      Result<Command> command = ToCommand(value.As<Napi::Object>());
      if (!command) {
        Throw(env, command.error());
        return {};
      }
      commands.push_back(std::move(*command));
    }
    if (Status status = engine->Apply(std::move(commands)); !status) Throw(env, status.error());
    return env.Undefined();
  }

  Napi::Value Evaluate(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    Engine* engine = Open(env);
    if (engine == nullptr) return {};
    std::optional<SpiffeId> identity;
    const Result<PeerInfo> peer = ToPeer(info[1].As<Napi::Object>(), identity);
    if (!peer) {
      Throw(env, peer.error());
      return {};
    }
    return FromAnswer(env, engine->Evaluate(static_cast<PodId>(info[0].ToNumber().Int64Value()), *peer));
  }

  Napi::Value Connections(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    Engine* engine = Open(env);
    if (engine == nullptr) return {};
    const std::vector<ConnectionRecord> records = engine->Connections();
    Napi::Array array = Napi::Array::New(env, records.size());
    for (uint32_t i = 0; i < records.size(); ++i) {
      const Napi::HandleScope scope(env);
      array.Set(i, FromRecord(env, records[i]));
    }
    return array;
  }

  Napi::Value Stats(const Napi::CallbackInfo& info) {
    Engine* engine = Open(info.Env());
    if (engine == nullptr) return {};
    return FromStats(info.Env(), engine->Stats());
  }

  Napi::Value Drain(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    Engine* engine = Open(env);
    if (engine == nullptr) return {};
    return DrainPromise(env, *engine, info[0]);
  }

  Napi::Value Close(const Napi::CallbackInfo& info) {
    Shut();
    return info.Env().Undefined();
  }

  void Shut() {
    if (!engine_) return;
    engine_->Close();
    engine_.reset();
    ring_->Close();
  }

  std::unique_ptr<EventRing> ring_;
  std::unique_ptr<Engine> engine_;
  Napi::Env::CleanupHook<void (*)(EngineObject*), EngineObject> cleanup_;
};

}  // namespace

void InitEngine(Napi::Env env, Napi::Object exports, Constructors& constructors) {
  constructors.engine = Napi::Persistent(EngineObject::Define(env));
  exports.Set("createEngine", Napi::Function::New(env, [](const Napi::CallbackInfo& info) -> Napi::Value {
                return info.Env().GetInstanceData<Constructors>()->engine.New({info[0], info[1]});
              }));
}

}  // namespace weft::binding
