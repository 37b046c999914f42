#include "upstream/connector.h"

#include <array>

#include "net/failed_stream.h"
#include "net/transport.h"

namespace weft::upstream {
namespace {

constexpr uint16_t kHbonePort = 15008;

constexpr std::array<uint8_t, 12> kSignature{0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

// PROXY protocol version 2: signature, command PROXY, family and transport, length, addresses.
std::vector<uint8_t> ProxyHeader(const SocketAddress& source, const SocketAddress& destination) {
  const bool v4 = source.ip.is_v4() && destination.ip.is_v4();
  std::vector<uint8_t> header(kSignature.begin(), kSignature.end());
  header.push_back(0x21);
  header.push_back(v4 ? 0x11 : 0x21);
  const uint16_t length = v4 ? 12 : 36;
  header.push_back(static_cast<uint8_t>(length >> 8));
  header.push_back(static_cast<uint8_t>(length));
  for (const SocketAddress* each : {&source, &destination}) {
    const auto& bytes = each->ip.bytes();
    header.insert(header.end(), bytes.begin() + (v4 ? 12 : 0), bytes.end());
  }
  for (const uint16_t port : {source.port, destination.port}) {
    header.push_back(static_cast<uint8_t>(port >> 8));
    header.push_back(static_cast<uint8_t>(port));
  }
  return header;
}

// Command LOCAL, and no addresses.
std::vector<uint8_t> OwnProxyHeader() {
  std::vector<uint8_t> header(kSignature.begin(), kSignature.end());
  header.insert(header.end(), {0x20, 0x00, 0x00, 0x00});
  return header;
}

}  // namespace

std::unique_ptr<ByteStream> Connector::Open(const ClusterConfig& cluster, const EndpointConfig& endpoint,
                                            const std::string& server_name, const std::string& alpn,
                                            const StreamInfo* client) {
  if (cluster.tls && !cluster.tls->unusable.empty()) {
    return std::make_unique<FailedStream>(context_, endpoint.address, StreamEnd::kTlsError, cluster.tls->unusable);
  }
  // A tunnel is mutual TLS of the mesh; without one there is nobody at the other end who speaks it.
  if (cluster.tls && cluster.tls->mesh && !endpoint.tunnel) {
    return std::make_unique<FailedStream>(context_, endpoint.address, StreamEnd::kTlsError,
                                          "mutual TLS of the mesh needs an endpoint in the mesh");
  }
  const std::string& name = cluster.tls && !cluster.tls->sni.empty() ? cluster.tls->sni : server_name;
  if (cluster.tls && cluster.tls->client && name.starts_with('*')) {
    return std::make_unique<FailedStream>(context_, endpoint.address, StreamEnd::kTlsError,
                                          "nobody says which of " + cluster.service_hostname + " TLS is to ask for");
  }
  std::unique_ptr<ByteStream> stream;
  if (endpoint.tunnel) {
    StreamInfo info;
    info.remote = endpoint.address;
    stream = tunnels_.Open({endpoint.address.ip, kHbonePort}, endpoint.identities, std::move(info),
                           {.authority = endpoint.address_text,
                            .baggage = options_.baggage,
                            .traceparent = client == nullptr ? std::string() : client->traceparent});
  } else {
    stream = MakeTcpClient(context_, endpoint.address, cluster.connect_timeout_ms,
                           cluster.keepalive.value_or(options_.keepalive));
  }
  if (cluster.proxy_protocol_v2) {
    if (client == nullptr) {
      stream->Write(OwnProxyHeader());
    } else {
      stream->Write(ProxyHeader(client->remote, client->authority.port != 0 ? client->authority : client->local));
    }
  }
  if (cluster.tls && cluster.tls->client) {
    stream = MakeTlsClient(context_, std::move(stream), cluster.tls->client, name, alpn);
  }
  return stream;
}

}  // namespace weft::upstream
