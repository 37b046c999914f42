#include <algorithm>
#include <ctime>

#include "l7/exchange.h"
#include "l7/local_reply.h"

// An answer's way to the client, whoever made it.
namespace weft::l7 {

using http::HeaderId;

void Exchange::Reply(const LocalReply& reply) {
  if (stream_ == nullptr || response_ != Response::kNone) return;
  waiting_ = false;
  if (reply.flag) record_.flags.Set(*reply.flag);
  record_.details = arena_.Copy(reply.details);
  router_.Stop();
  local_body_ = WriteLocalReply(reply, grpc_, arena_, local_head_);
  EditLocalHead();
  response_ = Response::kPrepared;
  if (beginning_) {
    services_.context.loop.AtEndOfTurn(reply_task_);
  } else {
    SendPrepared();
  }
}

// What a route does to responses it does to ours as well, but not to the answers of CORS: those are the browser's.
void Exchange::EditLocalHead() {
  if (stage_ == Stage::kForwarded) return router_.EditResponse(local_head_);
  if (route_ == nullptr || route_->response_headers.empty() || stage_ == Stage::kCors) return;
  FormatContext context;
  context.request = head_;
  context.response = &local_head_;
  context.downstream = &downstream_->info;
  context.route_name = route_->name;
  context.status = local_head_.status;
  context.flags = record_.flags;
  context.start_unix_ms = record_.start_unix_ms;
  route_->response_headers.Apply(local_head_.headers, context);
}

void Exchange::SendPrepared() {
  if (stream_ == nullptr) return;
  const bool end = local_body_.empty() || head_->method == "HEAD";
  SendHead(local_head_, end);
  if (end || stream_ == nullptr) return;
  WriteBody({reinterpret_cast<const uint8_t*>(local_body_.data()), local_body_.size()}, true);
}

void Exchange::OnUpstreamInformational(const http::ResponseHead& head) {
  if (stream_ != nullptr && response_ == Response::kNone) stream_->SendInformational(head);
}

void Exchange::OnUpstreamHead(http::ResponseHead& head, bool end) {
  if (stream_ == nullptr || response_ != Response::kNone) return;
  Touch();
  record_.details = "via_upstream";
  // Each HTTP has its own way to say yes to a tunnel; codecs take this one and make theirs of it.
  if (head.upgraded) head.status = head_->upgrade.empty() ? 200 : 101;
  SendHead(head, end);
}

void Exchange::SendHead(http::ResponseHead& head, bool end) {
  http::HeaderMap& headers = head.headers;
  // A server may have an opinion of its own, but browsers take one only.
  for (const http::Header& each : cors_headers_) headers.Set(each.name, each.value);
  for (const http::Header& each : extra_headers_) headers.AddView(each);
  headers.Set(HeaderId::kServer, chain_->settings->server_name);
  if (headers.Find(HeaderId::kDate) == nullptr) {
    headers.Add(HeaderId::kDate, services_.date.Text(static_cast<time_t>(UnixMs() / 1000)));
  }
  record_.status = head.status;
  record_.response_begun_us = MonotonicUs() - start_us_;
  record_.response_header_bytes = headers.ListBytes();
  if (grpc_) {
    if (const std::optional<uint32_t> status = GrpcStatusIn(headers))
      record_.grpc_status = static_cast<int32_t>(*status);
  }
  if (in_detail()) {
    telemetry::CopyHeaders(record_.telemetry->response_headers, headers, record_.response_headers);
    // The head may be gone when the record is written.
    for (auto& [name, value] : record_.response_headers) value = arena_.Copy(value);
  }
  response_ = end ? Response::kDone : Response::kBody;
  stream_->SendHead(head, end);
}

void Exchange::OnUpstreamBody(std::span<const uint8_t> bytes, bool end) {
  if (stream_ == nullptr || response_ != Response::kBody) return;
  Touch();
  if (grpc_) response_messages_.Feed(bytes);
  WriteBody(bytes, end);
}

void Exchange::WriteBody(std::span<const uint8_t> bytes, bool end) {
  record_.bytes_sent += bytes.size();
  if (unsent_.empty()) {
    // Until the stream has said that there is no room: it promises to call for that alone.
    while (true) {
      const size_t room = bytes.empty() ? 0 : stream_->WriteRoom();
      if (room >= bytes.size()) {
        if (end) response_ = Response::kDone;
        if (end || !bytes.empty()) stream_->SendBody(bytes, end);
        return;
      }
      if (room == 0) break;
      stream_->SendBody(bytes.first(room), false);
      if (stream_ == nullptr) return;
      bytes = bytes.subspan(room);
    }
  }
  unsent_.Append(bytes);
  unsent_end_ = end;
  router_.PauseResponse();
}

void Exchange::OnUpstreamEnd(const http::HeaderMap* trailers) {
  if (stream_ == nullptr || response_ != Response::kBody) return;
  Touch();
  if (trailers == nullptr) return WriteBody({}, true);
  if (grpc_) {
    if (const std::optional<uint32_t> status = GrpcStatusIn(*trailers))
      record_.grpc_status = static_cast<int32_t>(*status);
  }
  if (unsent_.empty()) return EndWithTrailers(*trailers);
  unsent_end_ = true;
  http::HeaderMap& kept = unsent_trailers_.emplace(arena_);
  for (const http::Header& each : *trailers) kept.Add(each.name, each.value);
}

void Exchange::EndWithTrailers(const http::HeaderMap& trailers) {
  response_ = Response::kDone;
  stream_->SendTrailers(trailers);
}

void Exchange::OnStreamWritable() {
  if (unsent_.empty()) return;
  Touch();
  while (stream_ != nullptr && !unsent_.empty()) {
    const size_t n = std::min(stream_->WriteRoom(), unsent_.size());
    if (n == 0) return;
    if (unsent_end_ && n == unsent_.size() && !unsent_trailers_) {
      // The last thing that is done: the stream may be closed in it.
      response_ = Response::kDone;
      return stream_->SendBody(unsent_.bytes(), true);
    }
    stream_->SendBody(unsent_.bytes().first(n), false);
    unsent_.Consume(n);
  }
  if (stream_ == nullptr) return;
  if (unsent_trailers_) return EndWithTrailers(*unsent_trailers_);
  router_.ResumeResponse();
}

void Exchange::OnResponseCut(Flag flag, std::string_view details) {
  if (stream_ == nullptr) return;
  record_.flags.Set(flag);
  record_.details = arena_.Copy(details);
  Cut(http::StreamError::kLocal);
}

// A body that cannot be ended must not look as if it had.
void Exchange::Cut(http::StreamError error) {
  http::ServerStream* const stream = stream_;
  // The record first: the head is gone with the stream.
  Finish();
  stream->Reset(error);
}

}  // namespace weft::l7
