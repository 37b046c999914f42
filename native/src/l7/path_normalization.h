#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/arena.h"

namespace weft::l7 {

// MeshConfig.pathNormalization. What is matched, what policies see and what is forwarded is the normal form: were they
// different, a policy on "/admin" could be passed as "/x/../admin" (CVE-2026-73553 and kin).
enum class PathForm : uint8_t { kBase, kNone, kMergeSlashes, kDecodeAndMergeSlashes };

// The whole :path, query included; only the path before "?" changes. nullopt: refused with 400 (a fragment, %00, a
// broken escape, more ".." than segments are no error: they stop at the root).
std::optional<std::string_view> NormalizePath(std::string_view path, PathForm form, Arena& arena);

}  // namespace weft::l7
