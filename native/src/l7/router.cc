#include "l7/router.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "base/clock.h"
#include "l7/mirror_request.h"
#include "l7/retry_policy.h"

namespace weft::l7 {
namespace {

using http::HeaderId;

// Where other priorities are preferred, every so many attempts it is the turn of others.
constexpr size_t kAttemptsPerPriority = 2;

std::string_view Decimal(uint64_t number, char (&into)[24]) {
  const auto written = std::to_chars(into, into + sizeof into, number);
  return {into, static_cast<size_t>(written.ptr - into)};
}

std::string ResetDetails(std::string_view when, UpstreamFailure failure, std::string_view detail) {
  std::string details(when);
  details += '{';
  details += FailureWords(failure);
  if (!detail.empty()) details.append("|").append(detail);
  details += '}';
  std::ranges::replace(details, ' ', '_');
  return details;
}

}  // namespace

Router::Router(LoopServices& services, Owner& owner)
    : services_(services),
      owner_(owner),
      buffer_(services.context.buffers, services.retained),
      upstream_(services.context, *this),
      timeout_timer_([this] { OnTimeout(); }),
      per_try_timer_([this] { OnPerTryTimeout(); }),
      backoff_timer_([this] { StartAttempt(); }) {}

void Router::Reset() {
  request_.reset();
  buffer_.Reset();
  upstream_.Forget();
  cluster_.reset();
  weighted_ = nullptr;
  retry_ = nullptr;
  tried_.clear();
  mirrors_.clear();
  trailers_.reset();
  high_water_ = kHighWaterBytes;
  timeout_ms_ = 0;
  retries_ = 0;
  tunnel_ = tunnel_up_ = request_ended_ = end_sent_ = response_begun_ = response_ended_ = false;
  draining_ = paused_ = stopped_ = false;
}

// ---- the request -------------------------------------------------------------------------------------------------

void Router::Start(const Request& request) {
  request_.emplace(request);
  high_water_ = kHighWaterBytes;
  tunnel_ = !request.head.upgrade.empty() || request.head.method == "CONNECT";
  if (tunnel_ && request.head.upgrade == "websocket" && forward().websocket_refused) {
    LocalReply reply;
    reply.status = 403;
    reply.details = "upgrade_failed";
    return owner_.OnRouterReply(reply);
  }
  if (!ChooseCluster()) return;
  SetTimeout();
  EditRequest();
  services_.hooks.OnUpstreamRequest(request.head, request.trace);
  if (forward().retry && forward().retry->attempts > 0) retry_ = &*forward().retry;
  // Of a tunnel nothing is sent before it stands, and from then on it is not tried again.
  if (!tunnel_) {
    ChooseMirrors();
    if (retry_ != nullptr || !mirrors_.empty()) buffer_.Retain();
  }
  if (request_ended_) OnRequestComplete();
  StartAttempt();
  StartMirrors();
}

void Router::OnRequestBody(std::span<const uint8_t> bytes, bool end) {
  if (end) request_ended_ = true;
  if (stopped_ || response_ended_) return;
  const bool direct = request_ && !buffer_.retaining() && buffer_.unsent().empty() && upstream_.open() &&
                      (!tunnel_ || tunnel_up_) && upstream_.WriteRoom() >= bytes.size();
  if (direct) {
    if (!bytes.empty()) buffer_.Bypass();
    if (end) end_sent_ = true;
    if (!bytes.empty() || end) upstream_.SendBody(bytes, end);
  } else {
    buffer_.Append(bytes);
  }
  if (end && request_) OnRequestComplete();
  if (!direct) Pump();
}

void Router::OnRequestTrailers(const http::HeaderMap* trailers) {
  request_ended_ = true;
  if (stopped_ || response_ended_) return;
  if (trailers != nullptr) {
    http::HeaderMap& copy = trailers_.emplace(trailers->arena());
    for (const http::Header& each : *trailers) copy.Add(each.name, each.value);
  }
  if (request_) OnRequestComplete();
  Pump();
}

// Times count from here: a client that is slow to send is not its server's fault.
void Router::OnRequestComplete() {
  if (stopped_) return;
  if (timeout_ms_ != 0 && !tunnel_) services_.context.loop.Arm(timeout_timer_, timeout_ms_);
  if (retry_ != nullptr && retry_->per_try_timeout_ms != 0 && !upstream_.idle() && !response_begun_ && !draining_) {
    services_.context.loop.Arm(per_try_timer_, retry_->per_try_timeout_ms);
  }
  StartMirrors();
}

// What goes nowhere is not mirrored either: as in Envoy, a copy is made of a request that is whole and on its way.
void Router::StartMirrors() {
  if (mirrors_.empty() || !request_ended_ || !buffer_.whole()) return;
  if (upstream_.idle() || draining_ || stopped_) return;
  for (const MirrorProgram* each : mirrors_) {
    const std::shared_ptr<upstream::Cluster> cluster = services_.clusters.Find(each->cluster);
    if (!cluster) continue;
    services_.mirrors->Start(*cluster, request_->head, buffer_.all(), request_->grpc, request_->record.client.ip,
                             timeout_ms_);
  }
  mirrors_.clear();
}

void Router::Pump() {
  if (stopped_ || !request_) return Hold();
  if (!upstream_.open() || draining_ || (tunnel_ && !tunnel_up_)) return Hold();
  while (upstream_.open() && !buffer_.unsent().empty()) {
    const std::span<const uint8_t> unsent = buffer_.unsent();
    const size_t n = std::min(upstream_.WriteRoom(), unsent.size());
    if (n == 0) return Hold();
    const bool last = request_ended_ && n == unsent.size() && !trailers_;
    if (last) end_sent_ = true;
    upstream_.SendBody(unsent.first(n), last);
    buffer_.Sent(n);
  }
  if (request_ended_ && !end_sent_ && upstream_.open()) {
    end_sent_ = true;
    if (trailers_) {
      upstream_.SendTrailers(*trailers_);
    } else {
      upstream_.SendBody({}, true);
    }
  }
  if (!paused_) return;
  paused_ = false;
  owner_.ResumeRequestBody();
}

void Router::HoldUpTo(size_t bytes) {
  high_water_ = std::max(bytes, kHighWaterBytes);
  if (!paused_ || buffer_.unsent().size() >= high_water_) return;
  paused_ = false;
  owner_.ResumeRequestBody();
}

void Router::Hold() {
  if (paused_ || request_ended_ || buffer_.unsent().size() < high_water_) return;
  paused_ = true;
  owner_.PauseRequestBody();
}

// ---- attempts ----------------------------------------------------------------------------------------------------

void Router::StartAttempt() {
  if (!upstream_.idle()) upstream_.Reset();  // the rest of an answer that nobody wants
  draining_ = false;
  RequestRecord& record = request_->record;
  http::RequestHead& head = request_->head;
  ++record.attempts;
  buffer_.Rewind();
  end_sent_ = false;

  balancer_field_.value.clear();
  upstream::PickContext pick;
  pick.request = &head;
  pick.source = record.client.ip;
  pick.original_destination = security::DestinationOf(request_->downstream.info);
  pick.answer = &balancer_field_;
  if (retry_ != nullptr) {
    if (retry_->avoid_previous_hosts) pick.tried = tried_;
    pick.other_priorities = retry_->other_priorities && tried_.size() >= kAttemptsPerPriority;
  }
  upstream::EndpointRef endpoint = cluster_->Pick(pick);
  if (!endpoint) {
    LocalReply reply;
    reply.status = 503;
    reply.body = "no healthy upstream";
    reply.details = "no_healthy_upstream";
    reply.flag = Flag::kUH;
    return owner_.OnRouterReply(reply);
  }
  record.endpoint = endpoint;
  if (retry_ != nullptr) tried_.push_back(endpoint);
  std::unique_ptr<upstream::Attempt> attempt = cluster_->Begin(std::move(endpoint));
  if (!attempt) return Fail(UpstreamFailure::kOverflow, {});

  char digits[24];
  head.headers.Set(HeaderId::kXEnvoyAttemptCount, Decimal(record.attempts, digits));
  if (request_ended_ && retry_ != nullptr && retry_->per_try_timeout_ms != 0) {
    services_.context.loop.Arm(per_try_timer_, retry_->per_try_timeout_ms);
  }
  const bool end = request_ended_ && !tunnel_ && buffer_.unsent().empty() && !trailers_;
  end_sent_ = end;
  upstream_.Start(std::move(attempt), head, end, request_->grpc);
}

bool Router::ScheduleRetry() {
  if (retry_ == nullptr || !buffer_.whole()) return false;
  if (retries_ >= retry_->attempts) {
    request_->record.flags.Set(Flag::kURX);
    return false;
  }
  EndRetry();
  if (!cluster_->MayRetry()) {
    request_->record.flags.Set(Flag::kUO);
    return false;
  }
  retry_counted_ = true;
  ++retries_;
  services_.context.loop.Arm(backoff_timer_, BackoffMs(*retry_, retries_, Random()));
  return true;
}

void Router::EndRetry() {
  if (!retry_counted_) return;
  retry_counted_ = false;
  cluster_->RetryEnded();
}

void Router::OnAttemptFailed(UpstreamFailure failure, std::string_view detail) {
  if (draining_ || stopped_) return;
  Fail(failure, detail);
}

void Router::OnAttemptClosed() {
  if (response_ended_) EndRetry();
  owner_.OnRouterIdle();
}

void Router::Fail(UpstreamFailure failure, std::string_view detail) {
  per_try_timer_.Disarm();
  if (!detail.empty()) request_->record.transport_failure = request_->arena.Copy(detail);
  if (response_begun_) {
    return owner_.OnResponseCut(FailureFlag(failure),
                                ResetDetails("upstream_reset_after_response_started", failure, {}));
  }
  const bool again = retry_ != nullptr && RetriesFailure(*retry_, failure, upstream_.opened());
  if (again && ScheduleRetry()) return;
  ReplyFailure(failure, detail);
}

void Router::ReplyFailure(UpstreamFailure failure, std::string_view detail) {
  LocalReply reply;
  reply.status = FailureStatus(failure);
  reply.flag = FailureFlag(failure);
  if (failure == UpstreamFailure::kPerTryTimeout) {
    reply.body = "upstream request timeout";
    reply.details = "upstream_per_try_timeout";
    return owner_.OnRouterReply(reply);
  }
  std::string body = "upstream connect error or disconnect/reset before headers. ";
  if (retries_ > 0) body += "retried and the latest ";
  body.append("reset reason: ").append(FailureWords(failure));
  if (!detail.empty()) body.append(", transport failure reason: ").append(detail);
  const std::string details = ResetDetails("upstream_reset_before_response_started", failure, detail);
  reply.body = body;
  reply.details = details;
  const http::Header overloaded{http::HeaderName(HeaderId::kXEnvoyOverloaded), "true", HeaderId::kXEnvoyOverloaded};
  if (failure == UpstreamFailure::kOverflow) reply.headers = {&overloaded, 1};
  owner_.OnRouterReply(reply);
}

void Router::OnTimeout() {
  upstream_.ReportTimeout();
  upstream_.Reset();
  if (response_begun_) return owner_.OnResponseCut(Flag::kUT, "response_timeout");
  LocalReply reply;
  reply.status = 504;
  reply.body = "upstream request timeout";
  reply.details = "response_timeout";
  reply.flag = Flag::kUT;
  owner_.OnRouterReply(reply);
}

void Router::OnPerTryTimeout() {
  if (response_begun_) return;
  upstream_.ReportTimeout();
  upstream_.Reset();
  Fail(UpstreamFailure::kPerTryTimeout, {});
}

// ---- the answer --------------------------------------------------------------------------------------------------

void Router::OnAttemptInformational(const http::ResponseHead& head) {
  if (!stopped_ && !draining_) owner_.OnUpstreamInformational(head);
}

void Router::OnAttemptHead(http::ResponseHead& head, bool end) {
  if (stopped_) return;
  per_try_timer_.Disarm();
  if (retry_ != nullptr && RetriesResponse(*retry_, head) && ScheduleRetry()) {
    draining_ = true;
    return;
  }
  response_begun_ = true;
  if (mirrors_.empty()) buffer_.Release();
  RequestRecord& record = request_->record;
  if (request_ended_) {
    const uint64_t since_start_us = MonotonicUs() - request_->start_us;
    record.upstream_first_byte_us = std::max<uint64_t>(
        since_start_us - std::min(since_start_us, record.request_received_us), 1);  // 0 says that there was none
    char digits[24];
    head.headers.Set(HeaderId::kXEnvoyUpstreamServiceTime, Decimal(record.upstream_first_byte_us / 1000, digits));
  }
  EditResponse(head);
  if (tunnel_ && head.upgraded) tunnel_up_ = true;
  // Refused: nothing of what the client meant for the tunnel goes there.
  if (tunnel_ && !head.upgraded && !end) {
    end_sent_ = true;
    upstream_.SendBody({}, true);
  }
  // Of the attempt that is answered by: earlier ones may have chosen others.
  if (!balancer_field_.value.empty()) owner_.OnBalancerField(balancer_field_.name, balancer_field_.value);
  if (end) ResponseDone();
  owner_.OnUpstreamHead(head, end);
  if (tunnel_up_) Pump();
}

void Router::EditResponse(http::ResponseHead& head) {
  static const HeaderEdits kNone;
  const RouteProgram& route = request_->route;
  // Where nothing could be drawn there is no destination.
  const HeaderEdits& own = weighted_ == nullptr ? kNone : weighted_->response_headers;
  const bool several = forward().clusters.size() > 1;
  const HeaderEdits& first = several ? own : route.response_headers;
  const HeaderEdits& second = several ? route.response_headers : own;
  if (first.empty() && second.empty()) return;
  RequestRecord& record = request_->record;
  FormatContext context;
  context.request = &request_->head;
  context.response = &head;
  context.downstream = &request_->downstream.info;
  if (record.endpoint) context.upstream_host = record.endpoint->address_text();
  context.route_name = route.name;
  context.status = head.status;
  context.flags = record.flags;
  context.start_unix_ms = record.start_unix_ms;
  first.Apply(head.headers, context);
  second.Apply(head.headers, context);
}

void Router::OnAttemptBody(std::span<const uint8_t> bytes, bool end) {
  if (stopped_ || draining_) return;
  if (end) ResponseDone();
  owner_.OnUpstreamBody(bytes, end);
}

void Router::OnAttemptEnd(const http::HeaderMap* trailers) {
  if (stopped_ || draining_) return;
  ResponseDone();
  owner_.OnUpstreamEnd(trailers);
}

void Router::ResponseDone() {
  response_ended_ = true;
  timeout_timer_.Disarm();
}

void Router::Stop() {
  if (stopped_) return;
  stopped_ = true;
  timeout_timer_.Disarm();
  per_try_timer_.Disarm();
  backoff_timer_.Disarm();
  EndRetry();
  // An exchange that is whole both ways closes by itself, and its connection is good for the next one.
  if (!upstream_.response_ended() || !end_sent_) upstream_.Reset();
}

}  // namespace weft::l7
