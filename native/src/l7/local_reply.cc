#include "l7/local_reply.h"

#include <charconv>

#include "l7/grpc.h"

namespace weft::l7 {
namespace {

using http::HeaderId;

void AddNumber(http::HeaderMap& headers, HeaderId id, uint64_t number) {
  char digits[24];
  const auto written = std::to_chars(digits, digits + sizeof digits, number);
  headers.Add(id, {digits, static_cast<size_t>(written.ptr - digits)});
}

}  // namespace

std::string_view WriteLocalReply(const LocalReply& reply, bool grpc, Arena& arena, http::ResponseHead& head) {
  for (const http::Header& each : reply.headers) head.headers.Add(each.name, each.value);
  if (grpc) {
    head.status = 200;
    head.headers.Set(HeaderId::kContentType, "application/grpc");
    AddNumber(head.headers, HeaderId::kGrpcStatus, reply.grpc_status.value_or(GrpcStatusOfHttp(reply.status)));
    if (!reply.body.empty()) head.headers.Add(HeaderId::kGrpcMessage, EncodeGrpcMessage(reply.body, arena));
    return {};
  }
  head.status = reply.status;
  // 204 and 304 have no body, whatever somebody wants in it.
  const bool bodiless = reply.status < 200 || reply.status == 204 || reply.status == 304;
  const std::string_view body = bodiless ? std::string_view() : reply.body;
  if (!body.empty() && head.headers.Find(HeaderId::kContentType) == nullptr) {
    head.headers.AddView({"content-type", "text/plain", HeaderId::kContentType});
  }
  if (!bodiless) {
    head.content_length = body.size();
    head.headers.Remove(HeaderId::kContentLength);
    AddNumber(head.headers, HeaderId::kContentLength, body.size());
  }
  return body.empty() ? std::string_view() : arena.Copy(body);
}

}  // namespace weft::l7
