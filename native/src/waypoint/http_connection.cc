#include "waypoint/http_connection.h"

#include <utility>

#include "waypoint/l7_worker.h"

namespace weft::waypoint {

void HttpConnection::Start(L7Worker& worker, std::shared_ptr<Port> port, std::unique_ptr<ByteStream> stream, bool http2,
                           std::span<const uint8_t> first) {
  new HttpConnection(worker, std::move(port), std::move(stream), http2, first);  // owned by itself, see Leave
}

HttpConnection::HttpConnection(L7Worker& worker, std::shared_ptr<Port> port, std::unique_ptr<ByteStream> stream,
                               bool http2, std::span<const uint8_t> first)
    : Downstream(worker, std::move(port)) {
  using Version = l7::HttpFrontend::Version;
  frontend_ = std::make_unique<l7::HttpFrontend>(worker_.services(), std::move(stream), port_->handle(),
                                                 http2 ? Version::kHttp2 : Version::kHttp1, first,
                                                 static_cast<l7::HttpFrontend::Owner&>(*this));
}

void HttpConnection::OnFrontendDown(l7::HttpFrontend&, StreamEnd, std::string_view) {
  worker_.context().loop.Retire(std::move(frontend_));
  Leave();
}

}  // namespace weft::waypoint
