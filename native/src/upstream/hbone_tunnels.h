#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "hbone/h2_connection.h"
#include "hbone/hbone_stream.h"
#include "net/socket.h"

namespace weft::upstream {

// The tunnels of one loop to agents of destinations, shared by all clusters: one per address and expected identities,
// more when its streams are used up.
class HboneTunnels {
 public:
  // Streams per tunnel, as ztunnel's pool; a peer may allow fewer.
  static constexpr uint32_t kMaxStreams = 100;
  // A tunnel without streams is closed after this, as ztunnel's.
  static constexpr uint64_t kIdleMs = 300'000;

  HboneTunnels(LoopContext& context, const TunnelTimeouts& timeouts, const Keepalive& keepalive);
  ~HboneTunnels();

  // New tunnels use it; open ones go on with the one that they began with, and take no more streams.
  void SetIdentity(std::shared_ptr<const IdentityContext> identity);
  // What the CONNECT says.
  struct Asked {
    std::string authority, baggage, traceparent;
  };
  // A stream that connects to `agent` by mutual TLS, which must carry one of `identities`.
  std::unique_ptr<ByteStream> Open(const SocketAddress& agent, const std::vector<std::string>& identities,
                                   StreamInfo info, Asked asked);
  void Drain();
  size_t size() const;

 private:
  struct Group;
  class Tunnel;
  void Dispatch(Group& group);
  void Dial(Group& group);
  void Remove(Tunnel& tunnel);
  // Forgets a group that has nothing: pods and their addresses come and go.
  void Prune(Group& group);
  void DrainAll();
  void FailWaiting(Group& group, StreamEnd end, const std::string& detail);

  LoopContext& context_;
  TunnelTimeouts timeouts_;
  Keepalive keepalive_;
  std::shared_ptr<const IdentityContext> identity_;
  std::map<std::string, std::unique_ptr<Group>> groups_;
};

}  // namespace weft::upstream
