#include "bpf/newcomers.h"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "binding/convert.h"
#include "binding/plane_object.h"

namespace weft::binding {
namespace {

std::optional<Membership> ParseMembership(const std::string& text) {
  if (text == "outside") return Membership::kOutside;
  if (text == "inside") return Membership::kInside;
  if (text == "held") return Membership::kHeld;
  return std::nullopt;
}

Napi::Value Answer(Napi::Env env, const Status& status) {
  if (!status) Throw(env, status.error());
  return env.Undefined();
}

Napi::Value SetMembership(BpfPlane& plane, const Napi::CallbackInfo& info) {
  const std::string text = info[1].ToString();
  const std::optional<Membership> membership = ParseMembership(text);
  if (!membership) return Answer(info.Env(), Error{EINVAL, "membership " + text});
  return Answer(info.Env(), plane.newcomers().Set(info[0].ToString(), *membership));
}

Napi::Value KeepMemberships(BpfPlane& plane, const Napi::CallbackInfo& info) {
  const Napi::Array given = info[0].As<Napi::Array>();
  std::vector<std::string> folders;
  for (uint32_t i = 0; i < given.Length(); ++i) folders.push_back(given.Get(i).ToString());
  plane.newcomers().Keep(folders);
  return info.Env().Undefined();
}

Napi::Value GuardNewcomers(BpfPlane& plane, const Napi::CallbackInfo& info) {
  return Answer(info.Env(), plane.newcomers().Guard(std::chrono::milliseconds(info[0].ToNumber().Int64Value())));
}

}  // namespace

void AddNewcomerMethods(Napi::Object object, const PlaneHolderPtr& holder) {
  AddPlaneMethod(object, "setMembership", holder, &SetMembership);
  AddPlaneMethod(object, "keepMemberships", holder, &KeepMemberships);
  AddPlaneMethod(object, "guardNewcomers", holder, &GuardNewcomers);
}

}  // namespace weft::binding
