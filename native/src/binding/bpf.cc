#include "binding/bpf.h"

#include <string>
#include <utility>

#include "binding/convert.h"
#include "binding/plane_object.h"
#include "bpf/bpf_plane.h"
#include "bpf/bpffs.h"
#include "bpf/features.h"
#include "bpf/redirect.h"
#include "net/netns.h"

namespace weft::binding {
namespace {

// Tells our objects from others that carry a native pointer.
constexpr napi_type_tag kPlaneTag = {0x5765667442706650, 0x6c616e65c0de0001};

constexpr std::pair<weft_reason, const char*> kReasonLabels[] = {
#define WEFT_REASON_LABEL(name, number, label, flag) {WEFT_R_##name, label},
    WEFT_REASONS(WEFT_REASON_LABEL)
#undef WEFT_REASON_LABEL
};

std::string StringOf(const Napi::Object& object, const char* key) { return object.Get(key).ToString().Utf8Value(); }

Napi::Value Fail(Napi::Env env, const Error& error) {
  Throw(env, error);
  return env.Undefined();
}

Napi::Value CaptureOne(BpfPlane& plane, const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object given = info[0].As<Napi::Object>();
  CapturedPod pod{.netns_path = StringOf(given, "netnsPath"),
                  .addresses = {},
                  .dns = given.Get("dns").ToBoolean(),
                  .express = given.Get("express").ToBoolean()};
  const Napi::Array addresses = given.Get("addresses").As<Napi::Array>();
  for (uint32_t i = 0; i < addresses.Length(); ++i) {
    const std::string text = addresses.Get(i).ToString().Utf8Value();
    const std::optional<IpAddress> ip = IpAddress::Parse(text);
    if (!ip) return Fail(env, Error{EINVAL, "pod address " + text});
    pod.addresses.push_back(*ip);
  }
  const Result<uint64_t> cookie = plane.CapturePod(pod);
  if (!cookie) return Fail(env, cookie.error());
  return Napi::BigInt::New(env, *cookie);
}

Napi::Value ReleaseOne(BpfPlane& plane, const Napi::CallbackInfo& info) {
  const Result<uint64_t> cookie = ToCookie(info[0]);
  if (!cookie) return Fail(info.Env(), cookie.error());
  const Status released = plane.ReleasePod(*cookie);
  return released ? info.Env().Undefined() : Fail(info.Env(), released.error());
}

Napi::Value ListCaptured(BpfPlane& plane, const Napi::CallbackInfo& info) {
  return FromCookies(info.Env(), plane.CapturedPods());
}

Napi::Value ReadCounters(BpfPlane& plane, const Napi::CallbackInfo& info) {
  const std::vector<uint64_t> counts = plane.Counters();
  Napi::Object object = Napi::Object::New(info.Env());
  for (const auto& [reason, label] : kReasonLabels) {
    object.Set(label, Napi::Number::New(info.Env(), static_cast<double>(counts[reason])));
  }
  return object;
}

Napi::Value NewPlaneObject(Napi::Env env, PlaneHolder held) {
  const PlaneHolderPtr holder = std::make_shared<PlaneHolder>(std::move(held));
  Napi::Object object = Napi::Object::New(env);
  const auto free_holder = [](node_api_basic_env, void* data, void*) { delete static_cast<PlaneHolderPtr*>(data); };
  napi_wrap(env, object, new PlaneHolderPtr(holder), free_holder, nullptr, nullptr);
  napi_type_tag_object(env, object, &kPlaneTag);
  AddPlaneMethod(object, "capture", holder, &CaptureOne);
  AddPlaneMethod(object, "release", holder, &ReleaseOne);
  AddPlaneMethod(object, "captured", holder, &ListCaptured);
  AddPlaneMethod(object, "counters", holder, &ReadCounters);
  AddNewcomerMethods(object, holder);
  AddDirectMethods(object, holder);
  AddRedirectMethods(object, holder);
  AddExpressMethods(object, holder);
  const auto close = [holder](const Napi::CallbackInfo&) {
    holder->events.reset();
    holder->plane.reset();
  };
  object.Set("close", Napi::Function::New(env, close, "close"));
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
  if (!plane) return Fail(info.Env(), plane.error());
  PlaneHolder held{.plane = std::move(*plane), .events = nullptr};
  if (options.Get("onDirectEvents").IsFunction()) {
    Result<std::unique_ptr<DirectEvents>> events =
        DirectEvents::Start(info.Env(), *held.plane, options.Get("onDirectEvents").As<Napi::Function>());
    if (!events) return Fail(info.Env(), events.error());
    held.events = std::move(*events);
  }
  return NewPlaneObject(info.Env(), std::move(held));
}

Napi::Value CleanupBpf(const Napi::CallbackInfo& info) {
  const std::string pin_dir = info[0].ToString();
  ForgetRedirects(pin_dir);
  const Result<bool> removed = CleanupPins(pin_dir);
  if (!removed) return Fail(info.Env(), removed.error());
  return Napi::Boolean::New(info.Env(), *removed);
}

Napi::Value ProbeKernel(const Napi::CallbackInfo& info) {
  if (const Status privileged = CheckPrivileges(); !privileged) return Fail(info.Env(), privileged.error());
  Napi::Object found = Napi::Object::New(info.Env());
  for (const std::span<const KernelFeature> features : {CaptureFeatures(), OptionalFeatures()}) {
    for (const KernelFeature& feature : features) {
      found.Set(feature.id, Napi::Boolean::New(info.Env(), feature.present()));
    }
  }
  return found;
}

Napi::Value NetnsCookie(const Napi::CallbackInfo& info) {
  const Result<NetNs> netns = NetNs::Open(info[0].ToString().Utf8Value().c_str());
  if (!netns) return Fail(info.Env(), netns.error());
  const Result<uint64_t> cookie = netns->Cookie();
  if (!cookie) return Fail(info.Env(), cookie.error());
  return Napi::BigInt::New(info.Env(), *cookie);
}

}  // namespace

void InitBpf(Napi::Env env, Napi::Object exports) {
  exports.Set("loadBpf", Napi::Function::New(env, LoadBpf, "loadBpf"));
  exports.Set("cleanupBpf", Napi::Function::New(env, CleanupBpf, "cleanupBpf"));
  exports.Set("probeKernel", Napi::Function::New(env, ProbeKernel, "probeKernel"));
  exports.Set("netnsCookie", Napi::Function::New(env, NetnsCookie, "netnsCookie"));
}

std::shared_ptr<Capture> UnwrapCapture(const Napi::Value& value) {
  if (!value.IsObject()) return nullptr;
  bool ours = false;
  void* data = nullptr;
  if (napi_check_object_type_tag(value.Env(), value, &kPlaneTag, &ours) != napi_ok || !ours) return nullptr;
  if (napi_unwrap(value.Env(), value, &data) != napi_ok) return nullptr;
  return (*static_cast<PlaneHolderPtr*>(data))->plane;
}

}  // namespace weft::binding
