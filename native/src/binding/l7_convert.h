#pragma once

#include <napi.h>

#include <vector>

#include "base/result.h"
#include "waypoint/l7_engine.h"

namespace weft::binding {

// JS values of waypoint/src/native.ts to C++ and back.

Result<waypoint::L7Options> ToL7Options(const Napi::Object& from);
// The bytes stay JavaScript's: valid during the call.
Result<std::vector<l7::ResourceUpdate>> ToL7Updates(const Napi::Value& from);
Result<std::vector<l7::ResourceName>> ToL7Names(const Napi::Value& from);

Napi::Array FromRejections(Napi::Env env, const std::vector<l7::Rejection>& rejections);
Napi::Object FromListening(Napi::Env env, const std::map<std::string, SocketAddress>& listening);
Napi::Object FromL7Stats(Napi::Env env, const waypoint::L7Stats& stats);

}  // namespace weft::binding
