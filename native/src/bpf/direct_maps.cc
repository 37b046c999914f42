#include "bpf/direct_maps.h"

#include "bpf/program_set.h"

namespace weft {

Status PinnedDirectMaps::Open(const PinPaths& pins) {
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
