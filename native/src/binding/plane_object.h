#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "base/result.h"
#include "binding/direct_events.h"
#include "bpf/bpf_plane.h"

namespace weft::binding {

// What a JS BpfPlane object holds on to; empty after close().
struct PlaneHolder {
  std::shared_ptr<BpfPlane> plane;
  std::unique_ptr<DirectEvents> events;
};
using PlaneHolderPtr = std::shared_ptr<PlaneHolder>;

using PlaneMethod = Napi::Value (*)(BpfPlane& plane, const Napi::CallbackInfo& info);

// Adds a method that throws EBADF after close().
void AddPlaneMethod(Napi::Object object, const char* name, const PlaneHolderPtr& holder, PlaneMethod method);

// Netns cookies are BigInts: they do not fit a Number.
Result<uint64_t> ToCookie(const Napi::Value& value);
Napi::Array FromCookies(Napi::Env env, const std::vector<uint64_t>& cookies);

// The kernel-direct path: direct, routes, permitPlain and what else native.ts has of it.
void AddDirectMethods(Napi::Object object, const PlaneHolderPtr& holder);
// Express connections.
void AddExpressMethods(Napi::Object object, const PlaneHolderPtr& holder);
// Pods that are not captured yet.
void AddNewcomerMethods(Napi::Object object, const PlaneHolderPtr& holder);
// Peer redirect.
void AddRedirectMethods(Napi::Object object, const PlaneHolderPtr& holder);

}  // namespace weft::binding
