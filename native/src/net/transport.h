#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "loop/loop_context.h"
#include "net/byte_stream.h"
#include "net/socket.h"

namespace weft {

// Ways to get a byte stream on a socket of this process' own network namespace.

// An accepted socket.
std::unique_ptr<ByteStream> MakeTcpStream(LoopContext& context, UniqueFd fd, const SocketAddress& peer);

// Connects. OnStreamUp, or OnStreamDown(kRefused | kTimeout).
std::unique_ptr<ByteStream> MakeTcpClient(LoopContext& context, const SocketAddress& address, uint64_t connect_ms,
                                          const Keepalive& keepalive);

// TLS as web servers and their clients speak it (1.2 and 1.3, DNS or SPIFFE names), on top of another stream. Mutual
// TLS of the mesh is tls/tls_conn.h.
struct TlsServerConfig;
struct TlsClientConfig;

struct TlsServerOptions {
  std::string certificate_chain;  // PEM, leaf first
  std::string private_key;
  std::string client_ca;  // not empty: ask for client certificates
  bool client_certificate_required = false;
  std::vector<std::string> alpn;
  uint32_t min_version = 12;

  bool operator==(const TlsServerOptions&) const = default;
};
struct TlsClientOptions {
  std::string ca;                              // PEM; empty: the system's
  std::vector<std::string> subject_alt_names;  // DNS names or URIs; empty: `server_name` of the connection
  std::string certificate_chain;
  std::string private_key;
  std::vector<std::string> alpn;
  bool skip_verify = false;
  std::string crl;  // PEM; not empty: of each authority in a chain there must be a list, and the certificate not on it
};
Result<std::shared_ptr<const TlsServerConfig>> MakeTlsServerConfig(const TlsServerOptions& options);
Result<std::shared_ptr<const TlsClientConfig>> MakeTlsClientConfig(const TlsClientOptions& options);

std::unique_ptr<ByteStream> MakeTlsServer(LoopContext& context, std::unique_ptr<ByteStream> below,
                                          std::shared_ptr<const TlsServerConfig> config);
// `server_name`: SNI, and the name to verify when the configuration has none. `alpn`: the one protocol to offer; empty:
// those of the configuration.
std::unique_ptr<ByteStream> MakeTlsClient(LoopContext& context, std::unique_ptr<ByteStream> below,
                                          std::shared_ptr<const TlsClientConfig> config, const std::string& server_name,
                                          const std::string& alpn = {});

}  // namespace weft
