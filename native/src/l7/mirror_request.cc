#include "l7/mirror_request.h"

#include <algorithm>
#include <utility>

namespace weft::l7 {

MirrorRequest::MirrorRequest(LoopContext& context, size_t& running, const http::RequestHead& head,
                             std::span<const uint8_t> body, bool grpc)
    : link_(this),
      context_(context),
      running_(running),
      head_(arena_),
      body_(arena_.Copy({reinterpret_cast<const char*>(body.data()), body.size()})),
      grpc_(grpc),
      upstream_(context, *this),
      timer_([this] {
        upstream_.Reset();
        End();
      }) {
  ++running_;
  head_.protocol = head.protocol;
  head_.method = arena_.Copy(head.method);
  head_.scheme = arena_.Copy(head.scheme);
  head_.authority = arena_.Copy(head.authority);
  head_.path = arena_.Copy(head.path);
  head_.content_length = head.content_length;
  for (const http::Header& each : head.headers) head_.headers.Add(each.name, each.value);
  // The whole body is here: nobody has to be asked for it.
  head_.headers.Remove(http::HeaderId::kExpect);
}

bool MirrorRequest::Start(upstream::Cluster& cluster, const IpAddress& source, uint64_t timeout_ms) {
  upstream::PickContext pick;
  pick.request = &head_;
  pick.source = source;
  upstream::EndpointRef endpoint = cluster.Pick(pick);
  if (!endpoint) return false;
  std::unique_ptr<upstream::Attempt> attempt = cluster.Begin(std::move(endpoint));
  if (!attempt) return false;
  context_.loop.Arm(timer_, timeout_ms);
  upstream_.Start(std::move(attempt), head_, body_.empty(), grpc_);
  return true;
}

void MirrorRequest::Send() {
  while (!body_.empty() && upstream_.open()) {
    const size_t n = std::min(upstream_.WriteRoom(), body_.size());
    if (n == 0) return;
    const std::span bytes(reinterpret_cast<const uint8_t*>(body_.data()), n);
    body_.remove_prefix(n);
    upstream_.SendBody(bytes, body_.empty());
  }
}

void MirrorRequest::End() {
  timer_.Disarm();
  if (!link_.linked()) return;
  link_.Unlink();
  context_.loop.Retire(std::unique_ptr<MirrorRequest>(this));
}

MirrorSet::~MirrorSet() {
  while (MirrorRequest* request = requests_.PopFront()) delete request;
}

void MirrorSet::Start(upstream::Cluster& cluster, const http::RequestHead& head, std::span<const uint8_t> body,
                      bool grpc, const IpAddress& source, uint64_t timeout_ms) {
  if (running_ >= kMaxRequests) return;
  auto request = std::make_unique<MirrorRequest>(context_, running_, head, body, grpc);
  // In the list before it starts: it may end at once.
  requests_.PushBack(request->link_);
  if (request->Start(cluster, source, timeout_ms == 0 ? kDefaultTimeoutMs : timeout_ms)) request.release();
}

}  // namespace weft::l7
