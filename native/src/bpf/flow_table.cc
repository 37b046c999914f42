#include "bpf/flow_table.h"

#include <vector>

#include "bpf/abi_convert.h"
#include "bpf/program_set.h"

namespace weft {

Status FlowTable::Open(const PinPaths& pins) { return OpenMap(flows_, pins.Map("weft_flows")); }

std::optional<CapturedConnection> FlowTable::Find(uint64_t pod, const SocketAddress& peer,
                                                  const SocketAddress& local) const {
  weft_flow_key key{};
  key.netns = pod;
  key.src = ToAbi(peer.ip);
  key.dst = ToAbi(local.ip);
  key.src_port = peer.port;
  key.dst_port = local.port;
  const std::optional<weft_flow> flow = flows_.Get(key);
  if (!flow || flow->kind != WEFT_FLOW_ORIG_DST) return std::nullopt;
  return CapturedConnection{FromAbi(flow->address), flow->endpoint};
}

std::vector<std::pair<weft_flow_key, weft_flow>> FlowTable::Direct() const {
  auto flows = flows_.Entries();
  std::erase_if(flows, [](const auto& entry) { return entry.second.kind != WEFT_FLOW_DIRECT; });
  return flows;
}

void FlowTable::PurgePod(uint64_t pod) const {
  std::vector<weft_flow_key> keys;
  for (const auto& [key, flow] : flows_.Entries()) {
    const bool from = flow.kind == WEFT_FLOW_DIRECT && flow.src_netns == pod;
    if (key.netns == pod || from) keys.push_back(key);
  }
  flows_.RemoveMany(keys);
}

}  // namespace weft
