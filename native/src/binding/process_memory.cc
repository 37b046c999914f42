#include "binding/process_memory.h"

#include "base/file_pages.h"

namespace weft::binding {
namespace {

Napi::Value ReleasePages(const Napi::CallbackInfo& info) {
  const Result<size_t> released = ReleaseFilePages();
  // Nothing hangs on it: a process that cannot read its own mappings is larger, that is all.
  return Napi::Number::New(info.Env(), released ? static_cast<double>(*released) : 0.0);
}

}  // namespace

void InitProcessMemory(Napi::Env env, Napi::Object exports) {
  exports.Set("releaseFilePages", Napi::Function::New(env, ReleasePages, "releaseFilePages"));
}

}  // namespace weft::binding
