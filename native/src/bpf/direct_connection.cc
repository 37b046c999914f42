#include "bpf/direct_connection.h"

#include <optional>
#include <vector>

#include "bpf/socket_diag.h"

namespace weft {
namespace {

std::optional<SocketDiag> DiagIn(const NetNs& netns) {
  std::optional<SocketDiag> diag;
  static_cast<void>(RunInNetNs(netns, [&]() -> Status {
    Result<SocketDiag> opened = SocketDiag::Open();
    if (!opened) return opened.error();
    diag = std::move(*opened);
    return Ok{};
  }));
  return diag;
}

}  // namespace

size_t EndConnections(const std::unordered_map<uint64_t, NetNs>& namespaces,
                      std::span<const DirectConnection> connections) {
  // The initiators' ends first: what they send ends most of the others.
  enum class Side { kSource, kDestination };
  std::vector<bool> ended(connections.size());
  for (const Side side : {Side::kSource, Side::kDestination}) {
    std::unordered_map<uint64_t, std::vector<size_t>> by_pod;
    for (size_t i = 0; i < connections.size(); ++i) {
      const DirectConnection& connection = connections[i];
      by_pod[side == Side::kSource ? connection.source_pod : connection.destination_pod].push_back(i);
    }
    for (const auto& [pod, indices] : by_pod) {
      const auto netns = namespaces.find(pod);
      if (netns == namespaces.end()) continue;
      std::optional<SocketDiag> diag = DiagIn(netns->second);
      if (!diag) continue;
      for (const size_t i : indices) {
        const DirectConnection& connection = connections[i];
        const Result<bool> done = side == Side::kSource ? diag->End(connection.source, connection.destination)
                                                        : diag->End(connection.destination, connection.source);
        if (done && *done) ended[i] = true;
      }
    }
  }
  size_t count = 0;
  for (const bool one : ended) count += one ? 1 : 0;
  return count;
}

}  // namespace weft
