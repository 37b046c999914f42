#include <string>
#include <vector>

#include "binding/plane_object.h"

namespace weft::binding {
namespace {

// `string | undefined` of native.ts.
Napi::Value TextOrUndefined(Napi::Env env, const std::string& text) {
  if (text.empty()) return env.Undefined();
  return Napi::String::New(env, text);
}

Napi::Value Redirects(BpfPlane& plane, const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::vector<Shortcut> shortcuts = plane.Redirects();
  Napi::Array array = Napi::Array::New(env, shortcuts.size());
  for (uint32_t i = 0; i < shortcuts.size(); ++i) {
    Napi::Object shortcut = Napi::Object::New(env);
    shortcut.Set("pod", Napi::BigInt::New(env, shortcuts[i].pod));
    shortcut.Set("device", TextOrUndefined(env, shortcuts[i].device));
    shortcut.Set("off", TextOrUndefined(env, shortcuts[i].off));
    array.Set(i, shortcut);
  }
  return array;
}

Napi::Value CheckRedirects(BpfPlane& plane, const Napi::CallbackInfo& info) {
  plane.CheckRedirects();
  return info.Env().Undefined();
}

}  // namespace

void AddRedirectMethods(Napi::Object object, const PlaneHolderPtr& holder) {
  AddPlaneMethod(object, "redirects", holder, &Redirects);
  AddPlaneMethod(object, "checkRedirects", holder, &CheckRedirects);
}

}  // namespace weft::binding
