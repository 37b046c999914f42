#include "bpf/program_object.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cstring>
#include <string>

#include "base/unique_fd.h"
#include "bpf/program_set.h"

namespace weft {
namespace {

// libbpf takes a pinned map over only when it has the flags that it was asked for; the kernel gives these one more.
Status ShareDeviceMap(bpf_map* map, const std::string& path) {
  UniqueFd fd(bpf_obj_get(path.c_str()));
  if (!fd) {
    fd = UniqueFd(bpf_map_create(bpf_map__type(map), bpf_map__name(map), bpf_map__key_size(map),
                                 bpf_map__value_size(map), bpf_map__max_entries(map), nullptr));
    if (!fd) return Error{errno, std::string("make map ") + bpf_map__name(map)};
    if (bpf_obj_pin(fd.get(), path.c_str()) != 0) return Error{errno, "pin " + path};
  }
  if (const int error = bpf_map__reuse_fd(map, fd.get()); error != 0) return Error{-error, "take over " + path};
  return Ok{};
}

Status SharePinnedMaps(bpf_object* object, const PinPaths& pins, MapSizes sizes) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    if (bpf_map__is_internal(map)) continue;
    const char* name = bpf_map__name(map);
    const std::string path = pins.Map(name);
    if (bpf_map__type(map) == BPF_MAP_TYPE_DEVMAP_HASH) {
      if (const Status shared = ShareDeviceMap(map, path); !shared) return shared;
      continue;
    }
    if (const int error = bpf_map__set_pin_path(map, path.c_str()); error != 0) return Error{-error, "pin " + path};
    if (std::strcmp(name, "weft_flows") != 0) continue;
    uint32_t entries = sizes.flows;
    const UniqueFd pinned(bpf_obj_get(path.c_str()));
    bpf_map_info info{};
    uint32_t length = sizeof(info);
    if (pinned && bpf_obj_get_info_by_fd(pinned.get(), &info, &length) == 0) entries = info.max_entries;
    bpf_map__set_max_entries(map, entries);
  }
  return Ok{};
}

}  // namespace

void ObjectDeleter::operator()(bpf_object* object) const { bpf_object__close(object); }

Result<ObjectPtr> OpenObject(ElfBytes elf, const LibbpfLog& log) {
  size_t size = 0;
  const void* bytes = elf(&size);
  ObjectPtr object(bpf_object__open_mem(bytes, size, nullptr));
  if (!object) return Error{errno, "open BPF object: " + log.first_warning()};
  return object;
}

Status LoadObject(bpf_object* object, const PinPaths& pins, MapSizes sizes, const LibbpfLog& log) {
  if (const Status shared = SharePinnedMaps(object, pins, sizes); !shared) return shared;
  if (const int error = bpf_object__load(object); error != 0) {
    return Error{-error, "load BPF programs: " + log.first_warning()};
  }
  return Ok{};
}

}  // namespace weft
