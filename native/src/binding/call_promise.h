#pragma once

#include <napi.h>

#include "waypoint/l7_engine.h"

namespace weft::binding {

// Makes the request that `from` says (OwnRequest in waypoint/src/native.ts); the promise has the answer, on the JS
// thread.
Napi::Value CallPromise(Napi::Env env, waypoint::L7Engine& engine, const Napi::Value& from);

}  // namespace weft::binding
