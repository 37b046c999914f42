#include "binding/bpf.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "bpf/bpf_plane.h"
#include "bpf/bpffs.h"
#include "net/netns.h"

namespace weft::binding {
namespace {

// Tells our objects from others that carry a native pointer.
constexpr napi_type_tag kPlaneTag = {0x5765667442706650, 0x6c616e65c0de0001};

// What a JS BpfPlane object holds on to; empty after close().
struct Holder {
  std::shared_ptr<BpfPlane> plane;
};
using HolderPtr = std::shared_ptr<Holder>;

constexpr std::pair<weft_reason, const char*> kReasonLabels[] = {
#define WEFT_REASON_LABEL(name, number, label, flag) {WEFT_R_##name, label},
    WEFT_REASONS(WEFT_REASON_LABEL)
#undef WEFT_REASON_LABEL
};

Napi::Value Throw(Napi::Env env, const Error& error) {
  Napi::Error thrown = Napi::Error::New(env, error.what + ": " + std::strerror(error.code));
  const char* name = strerrorname_np(error.code);
  thrown.Set("code", Napi::String::New(env, name != nullptr ? name : "EIO"));
  thrown.ThrowAsJavaScriptException();
  return env.Undefined();
}

std::string StringOf(const Napi::Object& object, const char* key) { return object.Get(key).ToString().Utf8Value(); }

// nullptr, with a JS exception pending, after close().
BpfPlane* PlaneOf(Napi::Env env, const HolderPtr& holder) {
  if (!holder->plane) Throw(env, Error{EBADF, "the BPF plane is closed"});
  return holder->plane.get();
}

Napi::Array CookieArray(Napi::Env env, const std::vector<uint64_t>& cookies) {
  Napi::Array array = Napi::Array::New(env, cookies.size());
  for (uint32_t i = 0; i < cookies.size(); ++i) array.Set(i, Napi::BigInt::New(env, cookies[i]));
  return array;
}

Napi::Value CaptureOne(const HolderPtr& holder, const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  BpfPlane* plane = PlaneOf(env, holder);
  if (plane == nullptr) return env.Undefined();
  const Napi::Object given = info[0].As<Napi::Object>();
  CapturedPod pod{.netns_path = StringOf(given, "netnsPath"), .addresses = {}, .dns = given.Get("dns").ToBoolean()};
  const Napi::Array addresses = given.Get("addresses").As<Napi::Array>();
  for (uint32_t i = 0; i < addresses.Length(); ++i) {
    const std::string text = addresses.Get(i).ToString().Utf8Value();
    const std::optional<IpAddress> ip = IpAddress::Parse(text);
    if (!ip) return Throw(env, Error{EINVAL, "pod address " + text});
    pod.addresses.push_back(*ip);
  }
  const Result<uint64_t> cookie = plane->CapturePod(pod);
  if (!cookie) return Throw(env, cookie.error());
  return Napi::BigInt::New(env, *cookie);
}

Napi::Value ReleaseOne(const HolderPtr& holder, const Napi::CallbackInfo& info) {
  BpfPlane* plane = PlaneOf(info.Env(), holder);
  if (plane == nullptr) return info.Env().Undefined();
  bool lossless = false;
  const uint64_t cookie = info[0].As<Napi::BigInt>().Uint64Value(&lossless);
  const Status released = plane->ReleasePod(cookie);
  return released ? info.Env().Undefined() : Throw(info.Env(), released.error());
}

Napi::Value ListCaptured(const HolderPtr& holder, const Napi::CallbackInfo& info) {
  const BpfPlane* plane = PlaneOf(info.Env(), holder);
  if (plane == nullptr) return info.Env().Undefined();
  return CookieArray(info.Env(), plane->CapturedPods());
}

Napi::Value ReadCounters(const HolderPtr& holder, const Napi::CallbackInfo& info) {
  const BpfPlane* plane = PlaneOf(info.Env(), holder);
  if (plane == nullptr) return info.Env().Undefined();
  const std::vector<uint64_t> counts = plane->Counters();
  Napi::Object object = Napi::Object::New(info.Env());
  for (const auto& [reason, label] : kReasonLabels) {
    object.Set(label, Napi::Number::New(info.Env(), static_cast<double>(counts[reason])));
  }
  return object;
}

void AddMethod(Napi::Object object, const char* name, const HolderPtr& holder,
               Napi::Value (*method)(const HolderPtr&, const Napi::CallbackInfo&)) {
  const auto call = [holder, method](const Napi::CallbackInfo& info) { return method(holder, info); };
  object.Set(name, Napi::Function::New(object.Env(), call, name));
}

Napi::Value NewPlaneObject(Napi::Env env, std::shared_ptr<BpfPlane> plane) {
  const HolderPtr holder = std::make_shared<Holder>(Holder{std::move(plane)});
  Napi::Object object = Napi::Object::New(env);
  const auto free_holder = [](node_api_basic_env, void* data, void*) { delete static_cast<HolderPtr*>(data); };
  napi_wrap(env, object, new HolderPtr(holder), free_holder, nullptr, nullptr);
  napi_type_tag_object(env, object, &kPlaneTag);
  AddMethod(object, "capture", holder, &CaptureOne);
  AddMethod(object, "release", holder, &ReleaseOne);
  AddMethod(object, "captured", holder, &ListCaptured);
  AddMethod(object, "counters", holder, &ReadCounters);
  AddMethod(object, "close", holder, [](const HolderPtr& held, const Napi::CallbackInfo& info) {
    held->plane.reset();
    return info.Env().Undefined();
  });
  return object;
}

Napi::Value LoadBpf(const Napi::CallbackInfo& info) {
  const Napi::Object options = info[0].As<Napi::Object>();
  BpfPlaneConfig config{
      .pin_dir = StringOf(options, "pinDir"),
      .pods_cgroup = StringOf(options, "podsCgroup"),
      .agent_cgroup = StringOf(options, "agentCgroup"),
      .kubelet_cgroup = std::nullopt,
  };
  if (options.Get("kubeletCgroup").IsString()) config.kubelet_cgroup = StringOf(options, "kubeletCgroup");
  if (options.Get("maxFlows").IsNumber()) config.max_flows = options.Get("maxFlows").ToNumber().Uint32Value();
  Result<std::shared_ptr<BpfPlane>> plane = BpfPlane::Load(config);
  if (!plane) return Throw(info.Env(), plane.error());
  return NewPlaneObject(info.Env(), std::move(*plane));
}

Napi::Value CleanupBpf(const Napi::CallbackInfo& info) {
  const Result<bool> removed = CleanupPins(info[0].ToString().Utf8Value());
  if (!removed) return Throw(info.Env(), removed.error());
  return Napi::Boolean::New(info.Env(), *removed);
}

Napi::Value NetnsCookie(const Napi::CallbackInfo& info) {
  const Result<NetNs> netns = NetNs::Open(info[0].ToString().Utf8Value().c_str());
  if (!netns) return Throw(info.Env(), netns.error());
  const Result<uint64_t> cookie = netns->Cookie();
  if (!cookie) return Throw(info.Env(), cookie.error());
  return Napi::BigInt::New(info.Env(), *cookie);
}

}  // namespace

void InitBpf(Napi::Env env, Napi::Object exports) {
  exports.Set("loadBpf", Napi::Function::New(env, LoadBpf, "loadBpf"));
  exports.Set("cleanupBpf", Napi::Function::New(env, CleanupBpf, "cleanupBpf"));
  exports.Set("netnsCookie", Napi::Function::New(env, NetnsCookie, "netnsCookie"));
}

std::shared_ptr<Capture> UnwrapCapture(const Napi::Value& value) {
  if (!value.IsObject()) return nullptr;
  bool ours = false;
  void* data = nullptr;
  if (napi_check_object_type_tag(value.Env(), value, &kPlaneTag, &ours) != napi_ok || !ours) return nullptr;
  if (napi_unwrap(value.Env(), value, &data) != napi_ok) return nullptr;
  return (*static_cast<HolderPtr*>(data))->plane;
}

}  // namespace weft::binding
