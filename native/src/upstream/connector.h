#pragma once

#include <memory>
#include <string>

#include "net/byte_stream.h"
#include "upstream/cluster_catalog.h"
#include "upstream/hbone_tunnels.h"

namespace weft::upstream {

// Opens streams to endpoints: TCP, by tunnel where the endpoint has one, TLS and PROXY header on top where the cluster
// says so.
class Connector {
 public:
  Connector(LoopContext& context, const CatalogOptions& options)
      : context_(context), options_(options), tunnels_(context, options.tunnel, options.keepalive) {}

  // Not begun. `alpn`: what TLS offers; empty: nothing. `client`: whom the PROXY header names; null: a connection that
  // serves many, whose header says that it is the proxy's own.
  std::unique_ptr<ByteStream> Open(const ClusterConfig& cluster, const EndpointConfig& endpoint,
                                   const std::string& server_name, const std::string& alpn, const StreamInfo* client);
  void SetIdentity(std::shared_ptr<const IdentityContext> identity) { tunnels_.SetIdentity(std::move(identity)); }
  void Drain() { tunnels_.Drain(); }
  LoopContext& context() { return context_; }
  // The clusters are gone, and the loop with them: nothing is put off to the end of a turn any more.
  void Close() { closed_ = true; }
  bool closed() const { return closed_; }

 private:
  LoopContext& context_;
  const CatalogOptions& options_;
  HboneTunnels tunnels_;
  bool closed_ = false;
};

}  // namespace weft::upstream
