#include <charconv>

#include "l7/fault.h"
#include "l7/grpc.h"
#include "l7/router.h"

// What a router does to a request before it goes anywhere.
namespace weft::l7 {

using http::HeaderId;

bool Router::ChooseCluster() {
  weighted_ = forward().Draw(Random());
  if (weighted_ == nullptr) {
    ReplyUnavailable();
    return false;
  }
  RequestRecord& record = request_->record;
  record.cluster_name = weighted_->cluster;
  if (weighted_->redirect) {
    const StreamInfo& info = request_->downstream.info;
    const uint16_t port = info.authority.port != 0 ? info.authority.port : info.local.port;
    const std::string location = weighted_->redirect->Location(
        request_->route.match, request_->head, request_->head.headers.Get(HeaderId::kXForwardedProto), port);
    const http::Header header{http::HeaderName(HeaderId::kLocation), location, HeaderId::kLocation};
    LocalReply reply;
    reply.status = weighted_->redirect->status();
    reply.details = "direct_response";
    reply.headers = {&header, 1};
    owner_.OnRouterReply(reply);
    return false;
  }
  cluster_ = weighted_->cluster.empty() ? nullptr : services_.clusters.Find(weighted_->cluster);
  if (cluster_ == nullptr) {
    ReplyUnavailable();
    return false;
  }
  record.cluster = cluster_;
  return true;
}

void Router::ReplyUnavailable() {
  LocalReply reply;
  reply.status = forward().unavailable_status;
  reply.details = "cluster_not_found";
  reply.flag = Flag::kNC;
  owner_.OnRouterReply(reply);
}

// Headers first, so that their values see the path as it came; of one destination the route's before its own, of
// several each one's own before the route's.
void Router::EditRequest() {
  http::RequestHead& head = request_->head;
  const RouteProgram& route = request_->route;
  const bool several = forward().clusters.size() > 1;
  const HeaderEdits& first = several ? weighted_->request_headers : route.request_headers;
  const HeaderEdits& second = several ? route.request_headers : weighted_->request_headers;
  std::string authority;
  if (!first.empty() || !second.empty()) {
    FormatContext context;
    context.request = &head;
    context.downstream = &request_->downstream.info;
    context.route_name = route.name;
    context.start_unix_ms = request_->record.start_unix_ms;
    first.Apply(head.headers, context);
    second.Apply(head.headers, context);
    authority = route.request_headers.Authority(context);
    if (authority.empty()) authority = weighted_->request_headers.Authority(context);
  }
  if (!weighted_->rewrite.authority().empty()) {
    head.authority = weighted_->rewrite.authority();
  } else if (!forward().rewrite.authority().empty()) {
    head.authority = forward().rewrite.authority();
  } else if (!authority.empty()) {
    head.authority = request_->arena.Copy(authority);
  }
  const RewriteProgram& rewrite = weighted_->rewrite.changes_path() ? weighted_->rewrite : forward().rewrite;
  if (rewrite.changes_path() && head.path.starts_with('/')) {
    request_->record.original_path = head.path;
    head.headers.Set(HeaderId::kXEnvoyOriginalPath, head.path);
    head.path = rewrite.Path(route.match, head.path, request_->arena);
  }
  if (head.expect_continue && !request_ended_ && buffer_.unsent().empty()) {
    head.headers.Set(HeaderId::kExpect, "100-continue");
  }
}

// The client's deadline counts, as far as the route allows.
void Router::SetTimeout() {
  timeout_ms_ = forward().timeout_ms;
  if (!request_->grpc) return;
  http::HeaderMap& headers = request_->head.headers;
  const http::Header* const header = headers.Find(HeaderId::kGrpcTimeout);
  if (header == nullptr) return;
  const std::optional<uint64_t> asked = ParseGrpcTimeoutMs(header->value);
  if (!asked || *asked == 0) return;
  const uint64_t cap = forward().max_grpc_timeout_ms != 0 ? forward().max_grpc_timeout_ms : forward().timeout_ms;
  timeout_ms_ = *asked;
  if (cap == 0 || *asked <= cap) return;
  timeout_ms_ = cap;
  char text[24];
  const auto written = std::to_chars(text, text + sizeof text - 1, cap);
  *written.ptr = 'm';
  headers.Set(HeaderId::kGrpcTimeout, {text, static_cast<size_t>(written.ptr + 1 - text)});
}

void Router::ChooseMirrors() {
  for (const std::vector<MirrorProgram>* list : {&forward().mirrors, &weighted_->mirrors}) {
    for (const MirrorProgram& each : *list) {
      if (FallsInto(Random(), each.share_ppm)) mirrors_.push_back(&each);
    }
  }
}

}  // namespace weft::l7
