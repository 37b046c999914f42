#pragma once

#include <napi.h>

#include <string>

#include "base/result.h"

// Reading JS objects. TypeScript has checked the shapes; what is missing or of another type is the default.
namespace weft::binding {

inline std::string Text(const Napi::Object& from, const char* key) {
  const Napi::Value value = from.Get(key);
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
}

inline double Number(const Napi::Object& from, const char* key, double otherwise = 0) {
  const Napi::Value value = from.Get(key);
  return value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : otherwise;
}

inline bool Flag(const Napi::Object& from, const char* key, bool otherwise) {
  const Napi::Value value = from.Get(key);
  return value.IsBoolean() ? value.As<Napi::Boolean>().Value() : otherwise;
}

// Calls `visit` for each element of an array; stops at the first error.
template <typename Visit>
Status ForEachOf(const Napi::Value& value, Visit visit) {
  if (!value.IsArray()) return Ok{};
  const Napi::Array array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::HandleScope scope(value.Env());
    if (Status status = visit(array.Get(i)); !status) return status;
  }
  return Ok{};
}

template <typename Visit>
Status ForEach(const Napi::Object& from, const char* key, Visit visit) {
  return ForEachOf(from.Get(key), visit);
}

}  // namespace weft::binding
