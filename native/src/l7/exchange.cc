#include "l7/exchange.h"

#include <algorithm>
#include <utility>

#include "l7/exchange_pool.h"
#include "l7/forwarding_headers.h"
#include "l7/local_reply.h"
#include "l7/path_normalization.h"

namespace weft::l7 {

using http::HeaderId;

Exchange::Exchange(LoopServices& services)
    : link_(this),
      services_(services),
      router_(services, *this),
      local_head_(arena_),
      unsent_(services.context.buffers),
      idle_timer_([this] { OnIdleTimer(); }),
      delay_timer_([this] { Continue(); }),
      reply_task_([this] { SendPrepared(); }),
      collected_task_([this] { CheckCollected(); }) {}

void Exchange::Begin(http::ServerStream& stream, http::RequestHead& head, bool end, const Downstream& downstream,
                     const ChainHandle& handle) {
  stream_ = &stream;
  head_ = &head;
  downstream_ = &downstream;
  chain_ = handle.chain();
  start_us_ = MonotonicUs();
  record_.start_unix_ms = UnixMs();
  record_.protocol = head.protocol;
  record_.downstream = &downstream.info;
  record_.destination = handle.destination();
  record_.telemetry = chain_->telemetry.get();
  record_.request_header_bytes = head.headers.ListBytes();
  grpc_ = record_.grpc = IsGrpc(head.headers);
  if (end) NoteRequestEnd();
  if (end) router_.OnRequestBody({}, true);
  const SettingsProgram& settings = *chain_->settings;
  if (settings.stream_idle_ms != 0) {
    Touch();
    services_.context.loop.Arm(idle_timer_, settings.stream_idle_ms);
  }
  beginning_ = true;
  record_.client = WriteForwardingHeaders(downstream, settings, head);
  services_.hooks.OnRequestStart(head, record_.telemetry, trace_);
  const std::optional<std::string_view> path =
      head.path.starts_with('/') ? NormalizePath(head.path, settings.path_form, arena_) : head.path;
  if (path) {
    head.path = *path;
    RunStages();
  } else {
    LocalReply reply;
    reply.status = 400;
    reply.details = "path_normalization_failed";
    Reply(reply);
  }
  beginning_ = false;
}

void Exchange::Reset() {
  filters_.clear();
  router_.Reset();
  chain_.reset();
  token_.reset();
  route_ = nullptr;
  route_valid_ = waiting_ = continued_ = request_ended_ = given_back_ = unsent_end_ = false;
  response_ = Response::kNone;
  stage_ = Stage::kSecurity;
  // Their memory is used again.
  RequestRecord fresh;
  fresh.request_headers = std::move(record_.request_headers);
  fresh.response_headers = std::move(record_.response_headers);
  fresh.request_headers.clear();
  fresh.response_headers.clear();
  record_ = std::move(fresh);
  trace_ = {};
  request_messages_.Reset();
  response_messages_.Reset();
  extra_headers_.clear();
  cors_headers_.clear();
  collected_ = nullptr;
  local_head_.headers.clear();
  local_head_.status = 0;
  local_head_.content_length.reset();
  local_body_ = {};
  unsent_.Clear();
  unsent_trailers_.reset();
  arena_.Reset();
}

// ---- the client's side -------------------------------------------------------------------------------------------

void Exchange::OnBody(std::span<const uint8_t> bytes, bool end) {
  Touch();
  record_.bytes_received += bytes.size();
  if (grpc_) request_messages_.Feed(bytes);
  if (end) NoteRequestEnd();
  router_.OnRequestBody(bytes, end);
  if (collected_) CheckCollected();
}

void Exchange::OnRequestEnd(const http::HeaderMap* trailers) {
  Touch();
  NoteRequestEnd();
  router_.OnRequestTrailers(trailers);
  if (collected_) CheckCollected();
}

void Exchange::NoteRequestEnd() {
  request_ended_ = true;
  record_.request_received_us = std::max<uint64_t>(MonotonicUs() - start_us_, 1);  // 0 says that it never was
}

void Exchange::PauseRequestBody() {
  if (stream_ != nullptr) stream_->PauseBody();
}

void Exchange::ResumeRequestBody() {
  if (stream_ != nullptr) stream_->ResumeBody();
}

void Exchange::OnStreamClosed(http::StreamError error) {
  if (error != http::StreamError::kNone && response_ != Response::kDone) {
    switch (error) {
      case http::StreamError::kProtocol:
      case http::StreamError::kLimit:
        record_.flags.Set(Flag::kDPE);
        record_.details = "http.codec_error";
        // Of HTTP/1 the codec has answered if nothing was.
        if (record_.status == 0 && record_.protocol != http::Protocol::kHttp2) record_.status = 400;
        break;
      case http::StreamError::kReset:
        record_.flags.Set(record_.protocol == http::Protocol::kHttp2 ? Flag::kDR : Flag::kDC);
        record_.details =
            record_.protocol == http::Protocol::kHttp2 ? "http2.remote_reset" : "downstream_remote_disconnect";
        break;
      default:
        record_.flags.Set(Flag::kDC);
        record_.details = "downstream_remote_disconnect";
        break;
    }
  }
  Finish();
}

// Lazily: the timer is left armed and looks at what has happened when it goes off.
void Exchange::OnIdleTimer() {
  if (stream_ == nullptr) return;
  const uint64_t idle_ms = chain_->settings->stream_idle_ms;
  const uint64_t now = services_.context.loop.now_ms();
  if (now < last_active_ms_ + idle_ms) {
    return services_.context.loop.Arm(idle_timer_, last_active_ms_ + idle_ms - now);
  }
  if (response_ == Response::kNone) {
    LocalReply reply;
    reply.status = 408;
    reply.body = "stream timeout";
    reply.details = "stream_idle_timeout";
    reply.flag = Flag::kSI;
    return Reply(reply);
  }
  record_.flags.Set(Flag::kSI);
  record_.details = "stream_idle_timeout";
  Cut(http::StreamError::kIdleTimeout);
}

// ---- the end -----------------------------------------------------------------------------------------------------

// The stream is closed; what is still going on upstream is not ours any more.
void Exchange::Finish() {
  if (stream_ == nullptr) return;
  stream_ = nullptr;
  waiting_ = false;
  idle_timer_.Disarm();
  delay_timer_.Disarm();
  reply_task_.Cancel();
  collected_task_.Cancel();
  router_.Stop();
  WriteRecord();
  // It lives in the codec, which is done with it.
  head_ = nullptr;
  GiveBackIfOver();
}

void Exchange::GiveBackIfOver() {
  if (stream_ != nullptr || given_back_ || !router_.idle()) return;
  given_back_ = true;
  services_.exchanges->GiveBack(*this);
}

// Somebody will read all of the record.
bool Exchange::in_detail() const {
  return record_.telemetry != nullptr &&
         (record_.telemetry->records || record_.has_dry_run() || trace_.span.sampled.value_or(false));
}

void Exchange::WriteRecord() {
  const http::HeaderMap& headers = head_->headers;
  record_.duration_us = MonotonicUs() - start_us_;
  record_.method = head_->method;
  record_.path = head_->path;
  if (record_.original_path.empty()) record_.original_path = record_.path;
  record_.scheme = head_->scheme;
  record_.authority = head_->authority;
  record_.request_id = headers.Get(HeaderId::kXRequestId);
  record_.user_agent = headers.Get(HeaderId::kUserAgent);
  record_.forwarded_for = headers.Get(HeaderId::kXForwardedFor);
  record_.grpc_request_messages = request_messages_.messages();
  record_.grpc_response_messages = response_messages_.messages();
  if (route_ != nullptr) {
    record_.route_name = route_->name;
    record_.route_pattern = route_->pattern;
  }
  telemetry::FillTrace(trace_, record_);
  if (in_detail()) {
    telemetry::CopyHeaders(record_.telemetry->request_headers, headers, record_.request_headers);
    const SocketAddress& local = router_.upstream_local();
    if (local.port != 0) record_.upstream_local = arena_.Copy(local.ToString());
  }
  services_.records.OnRecord(record_);
}

}  // namespace weft::l7
