#pragma once

#include <napi.h>

#include "binding/constructors.h"

namespace weft::binding {

// Adds createEngine.
void InitEngine(Napi::Env env, Napi::Object exports, Constructors& constructors);

}  // namespace weft::binding
