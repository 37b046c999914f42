#include <string>

#include "binding/plane_object.h"

namespace weft::binding {
namespace {

Napi::Value ExpressOff(BpfPlane& plane, const Napi::CallbackInfo& info) {
  const std::string& off = plane.ExpressOff();
  if (off.empty()) return info.Env().Undefined();
  return Napi::String::New(info.Env(), off);
}

}  // namespace

void AddExpressMethods(Napi::Object object, const PlaneHolderPtr& holder) {
  AddPlaneMethod(object, "expressOff", holder, &ExpressOff);
}

}  // namespace weft::binding
