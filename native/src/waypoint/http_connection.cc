#include "waypoint/http_connection.h"

#include <utility>

#include "waypoint/l7_worker.h"

namespace weft::waypoint {

void HttpConnection::Start(L7Worker& worker, std::shared_ptr<Port> port, std::unique_ptr<ByteStream> stream, bool http2,
                           std::span<const uint8_t> first) {
  auto* connection = new HttpConnection(worker, std::move(port));  // owned by itself, see Downstream
  const auto version = http2 ? l7::HttpFrontend::Version::kHttp2 : l7::HttpFrontend::Version::kHttp1;
  connection->frontend_ =
      std::make_unique<l7::HttpFrontend>(worker.services(), std::move(stream), connection->port_->handle(), version,
                                         first, static_cast<l7::HttpFrontend::Owner&>(*connection));
  // It came while others were told to go: its first answer is its last.
  if (worker.draining()) connection->Drain();
}

void HttpConnection::OnFrontendDown(l7::HttpFrontend&, StreamEnd, std::string_view) { Leave(); }

}  // namespace weft::waypoint
