#include "binding/plane_object.h"

#include "binding/convert.h"

namespace weft::binding {

void AddPlaneMethod(Napi::Object object, const char* name, const PlaneHolderPtr& holder, PlaneMethod method) {
  const auto call = [holder, method](const Napi::CallbackInfo& info) -> Napi::Value {
    // close() may come while the method runs JavaScript.
    const std::shared_ptr<BpfPlane> plane = holder->plane;
    if (plane) return method(*plane, info);
    Throw(info.Env(), Error{EBADF, "the BPF plane is closed"});
    return info.Env().Undefined();
  };
  object.Set(name, Napi::Function::New(object.Env(), call, name));
}

Result<uint64_t> ToCookie(const Napi::Value& value) {
  if (!value.IsBigInt()) return Error{EINVAL, "a netns cookie must be a BigInt"};
  bool lossless = false;
  const uint64_t cookie = value.As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) return Error{EINVAL, "a netns cookie has 64 bits"};
  return cookie;
}

Napi::Array FromCookies(Napi::Env env, const std::vector<uint64_t>& cookies) {
  Napi::Array array = Napi::Array::New(env, cookies.size());
  for (uint32_t i = 0; i < cookies.size(); ++i) array.Set(i, Napi::BigInt::New(env, cookies[i]));
  return array;
}

}  // namespace weft::binding
