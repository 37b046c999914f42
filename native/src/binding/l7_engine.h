#pragma once

#include <napi.h>

#include "binding/constructors.h"

namespace weft::binding {

// Adds createL7Engine.
void InitL7Engine(Napi::Env env, Napi::Object exports, Constructors& constructors);

}  // namespace weft::binding
