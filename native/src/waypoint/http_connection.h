#pragma once

#include <memory>
#include <span>

#include "l7/http_frontend.h"
#include "waypoint/downstream.h"

namespace weft::waypoint {

// A client's connection that speaks HTTP.
class HttpConnection final : public Downstream, private l7::HttpFrontend::Owner {
 public:
  // Lives on its own from here on. The stream has begun; `first` was read from it already.
  static void Start(L7Worker& worker, std::shared_ptr<Port> port, std::unique_ptr<ByteStream> stream, bool http2,
                    std::span<const uint8_t> first);

  void Drain() override { frontend_->Drain(); }
  void Abort() override { frontend_->Abort(); }

 private:
  HttpConnection(L7Worker& worker, std::shared_ptr<Port> port, std::unique_ptr<ByteStream> stream, bool http2,
                 std::span<const uint8_t> first);
  void OnFrontendDown(l7::HttpFrontend&, StreamEnd, std::string_view) override;

  std::unique_ptr<l7::HttpFrontend> frontend_;
};

}  // namespace weft::waypoint
