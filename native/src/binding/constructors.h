#pragma once

#include <napi.h>

namespace weft::binding {

// Per environment: the classes behind the addon's functions.
struct Constructors {
  Napi::FunctionReference engine;
  Napi::FunctionReference l7_engine;
};

}  // namespace weft::binding
