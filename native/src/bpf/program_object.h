#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "bpf/libbpf_log.h"

struct bpf_object;

namespace weft {

struct PinPaths;

struct ObjectDeleter {
  void operator()(bpf_object* object) const;
};
using ObjectPtr = std::unique_ptr<bpf_object, ObjectDeleter>;

// The compiled bytes inside a generated skeleton.
using ElfBytes = const void* (*)(size_t*);

// Sizes that an installation may choose; a map that is pinned already keeps its size.
struct MapSizes {
  uint32_t flows;
};

// `log` must live on this thread, so that an error says what libbpf said.
Result<ObjectPtr> OpenObject(ElfBytes elf, const LibbpfLog& log);
// Loads the programs; maps are those that are pinned under their names, and are made and pinned when they are not.
Status LoadObject(bpf_object* object, const PinPaths& pins, MapSizes sizes, const LibbpfLog& log);

}  // namespace weft
