#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "l7/http_frontend.h"
#include "net/byte_stream.h"
#include "waypoint/downstream.h"

namespace weft::waypoint {

// A client's connection that speaks HTTP, for as long as it lasts.
class HttpConnection final : public Downstream, private l7::HttpFrontend::Owner {
 public:
  static void Start(L7Worker& worker, std::shared_ptr<Port> port, std::unique_ptr<ByteStream> stream, bool http2,
                    std::span<const uint8_t> first);

  void Drain() override { frontend_->Drain(); }
  void Abort() override { frontend_->Abort(); }
  size_t open_requests() const override { return frontend_->open_requests(); }

 private:
  using Downstream::Downstream;
  void OnFrontendDown(l7::HttpFrontend& frontend, StreamEnd end, std::string_view detail) override;

  std::unique_ptr<l7::HttpFrontend> frontend_;
};

}  // namespace weft::waypoint
