#pragma once

#include <memory>
#include <string>
#include <utility>

#include "l7/program.h"
#include "net/byte_stream.h"
#include "security/peer_name.h"

namespace weft::l7 {

// The chain that is in force for one port of one destination, on one loop. Connections outlive programs: whoever takes
// a new program sets the new chain here, and requests that begin later run under it.
class ChainHandle {
 public:
  explicit ChainHandle(std::string destination) : destination_(std::move(destination)) {}
  ChainHandle(const ChainHandle&) = delete;
  ChainHandle& operator=(const ChainHandle&) = delete;

  void Set(std::shared_ptr<const ChainProgram> chain) {
    // A count of references of this loop's own: requests of all loops would otherwise write to one cache line.
    auto held = std::make_shared<const std::shared_ptr<const ChainProgram>>(std::move(chain));
    const ChainProgram* const program = held->get();
    chain_ = {std::move(held), program};
  }
  const std::shared_ptr<const ChainProgram>& chain() const { return chain_; }
  // Name of the Destination or Listener.
  const std::string& destination() const { return destination_; }

 private:
  std::string destination_;
  std::shared_ptr<const ChainProgram> chain_;
};

// What all requests of one connection have in common.
struct Downstream {
  explicit Downstream(const StreamInfo& stream_info)
      : info(stream_info),
        remote_ip(stream_info.remote.ip.ToString()),
        peer_namespace(security::NameOf(stream_info.peer_identity).namespace_name) {}

  const StreamInfo& info;
  const std::string remote_ip;
  const std::string_view peer_namespace;
};

}  // namespace weft::l7
