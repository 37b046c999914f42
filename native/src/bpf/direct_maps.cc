#include "bpf/direct_maps.h"

#include "bpf/program_set.h"

namespace weft {

namespace {

// Until the programs declare them.
template <typename Key, typename Value>
void EnsureMap(const std::string& path, const char* name, uint32_t entries) {
  const UniqueFd pinned(bpf_obj_get(path.c_str()));
  if (pinned) return;
  LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);
  const UniqueFd made(bpf_map_create(BPF_MAP_TYPE_HASH, name, sizeof(Key), sizeof(Value), entries, &options));
  if (made) bpf_obj_pin(made.get(), path.c_str());
}

}  // namespace

Status PinnedDirectMaps::Open(const PinPaths& pins) {
  EnsureMap<weft_route_key, weft_route>(pins.Map("weft_routes"), "weft_routes", WEFT_MAX_ROUTES);
  EnsureMap<weft_endpoint_key, weft_endpoint>(pins.Map("weft_endpoints"), "weft_endpoints", WEFT_MAX_ENDPOINTS);
  EnsureMap<weft_verdict_key, weft_verdict>(pins.Map("weft_verdicts"), "weft_verdicts", WEFT_MAX_VERDICTS);
  if (const Status opened = OpenMap(routes_, pins.Map("weft_routes")); !opened) return opened;
  if (const Status opened = OpenMap(endpoints_, pins.Map("weft_endpoints")); !opened) return opened;
  return OpenMap(verdicts_, pins.Map("weft_verdicts"));
}

Status PinnedDirectMaps::PutSet(uint32_t set, std::span<const weft_endpoint> slots) {
  std::vector<weft_endpoint_key> keys(slots.size());
  for (uint32_t slot = 0; slot < keys.size(); ++slot) keys[slot] = {.set = set, .slot = slot};
  const Status put = endpoints_.SetMany(keys, slots);
  if (!put) endpoints_.RemoveMany(keys);
  return put;
}

}  // namespace weft
