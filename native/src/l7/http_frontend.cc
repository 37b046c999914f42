#include "l7/http_frontend.h"

#include <string>
#include <utility>

#include "base/clock.h"
#include "l7/exchange.h"
#include "l7/exchange_pool.h"

namespace weft::l7 {
namespace {

http::ServerLimits LimitsOf(const ChainHandle& handle) {
  http::ServerLimits limits;
  limits.max_header_bytes = handle.chain()->settings->max_request_header_bytes;
  return limits;
}

}  // namespace

HttpFrontend::HttpFrontend(LoopServices& services, std::unique_ptr<ByteStream> stream, const ChainHandle& handle,
                           Version version, std::span<const uint8_t> first, Owner& owner)
    : services_(services), handle_(handle), version_(version), owner_(owner), downstream_(stream->info()) {
  const auto make = version == Version::kHttp2 ? http::MakeHttp2Server : http::MakeHttp1Server;
  connection_ = make(services.context, std::move(stream), *this, LimitsOf(handle), first);
}

http::ServerStream::Handler* HttpFrontend::OnRequest(http::ServerStream& stream, http::RequestHead& head, bool end) {
  Exchange& exchange = services_.exchanges->Take();
  exchange.Begin(stream, head, end, downstream_, handle_);
  return &exchange;
}

void HttpFrontend::OnBadRequest(uint16_t status, std::string_view detail) {
  // In the middle of an HTTP/1 request: its exchange tells.
  if (version_ == Version::kHttp1 && connection_->open_streams() > 0) return;
  const std::string details = "http.codec_error{" + std::string(detail) + "}";
  RequestRecord record;
  record.start_unix_ms = UnixMs();
  record.protocol = version_ == Version::kHttp2 ? http::Protocol::kHttp2 : http::Protocol::kHttp11;
  record.status = status;
  record.flags.Set(Flag::kDPE);
  record.details = details;
  record.downstream = &downstream_.info;
  record.client = downstream_.info.remote;
  record.destination = handle_.destination();
  record.telemetry = handle_.chain()->telemetry.get();
  services_.records.OnRecord(record);
}

void HttpFrontend::OnConnectionDown(StreamEnd end, std::string_view detail) {
  owner_.OnFrontendDown(*this, end, detail);
}

}  // namespace weft::l7
