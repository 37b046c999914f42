#include "l7/cors.h"
#include "l7/exchange.h"
#include "l7/fault.h"
#include "security/rate_limit.h"
#include "security/security_filter.h"

// A request's way from its head to the router.
namespace weft::l7 {

using http::HeaderId;

void Exchange::MatchRoute() {
  route_valid_ = true;
  route_ = nullptr;
  if (chain_->http == nullptr) return;
  const VirtualHostProgram* const host = chain_->http->FindHost(head_->authority);
  if (host == nullptr) return;
  route_ = host->Find({*head_, token_.get(), downstream_->peer_namespace});
}

void Exchange::RunStages() {
  while (stage_ != Stage::kForwarded && stream_ != nullptr && response_ == Response::kNone) {
    if (!route_valid_) MatchRoute();
    const Next next = RunStage();
    if (next == Next::kDone) return;
    if (next == Next::kWait) {
      waiting_ = true;
      return;
    }
    stage_ = static_cast<Stage>(static_cast<uint8_t>(stage_) + 1);
  }
}

Next Exchange::RunStage() {
  switch (stage_) {
    case Stage::kSecurity:
      if (chain_->security == nullptr) return Next::kContinue;
      return RunFilter(security::MakeSecurityFilter(chain_->security, services_.security));
    case Stage::kRateLimits: {
      const bool of_route = route_ != nullptr && route_->rate_limits != nullptr;
      if (chain_->rate_limits == nullptr && !of_route) return Next::kContinue;
      return RunFilter(security::MakeRateLimitFilter(chain_->rate_limits, of_route ? route_->rate_limits : nullptr));
    }
    case Stage::kAuthorizer:
      if (route_ == nullptr || route_->authorizer == nullptr) return Next::kContinue;
      return RunFilter(security::MakeAuthorizerFilter(route_->authorizer));
    case Stage::kFault:
      return route_ == nullptr || !route_->fault ? Next::kContinue : RunFault();
    case Stage::kCors:
      return route_ == nullptr || route_->cors == nullptr ? Next::kContinue : RunCors();
    case Stage::kRoute:
      return TakeRoute();
    case Stage::kForwarded:
      break;
  }
  return Next::kDone;
}

Next Exchange::RunFilter(std::unique_ptr<Filter> filter) {
  Filter& running = *filters_.emplace_back(std::move(filter));
  in_filter_ = true;
  continued_ = false;
  const Next next = running.OnRequest(*this);
  in_filter_ = false;
  if (response_ != Response::kNone || stream_ == nullptr) return Next::kDone;
  return next == Next::kWait && continued_ ? Next::kContinue : next;
}

void Exchange::Continue() {
  if (in_filter_) {
    continued_ = true;
    return;
  }
  if (!waiting_ || stream_ == nullptr || response_ != Response::kNone) return;
  waiting_ = false;
  // The delay is over; whether it is aborted was drawn on its own.
  if (stage_ == Stage::kFault && AbortByFault() == Next::kDone) return;
  stage_ = static_cast<Stage>(static_cast<uint8_t>(stage_) + 1);
  RunStages();
}

Next Exchange::RunFault() {
  if (!DrawDelay(*route_->fault, Random())) return AbortByFault();
  record_.flags.Set(Flag::kDI);
  services_.context.loop.Arm(delay_timer_, route_->fault->delay_ms);
  return Next::kWait;
}

Next Exchange::AbortByFault() {
  if (!DrawAbort(*route_->fault, Random())) return Next::kContinue;
  Reply(FaultReply(*route_->fault));
  return Next::kDone;
}

Next Exchange::RunCors() {
  const CorsProgram& cors = *route_->cors;
  const bool allowed = AllowsOrigin(cors, head_->headers.Get(HeaderId::kOrigin));
  if (!IsPreflight(*head_)) {
    if (allowed) AddCorsHeaders(cors, *head_, arena_, cors_headers_);
    return Next::kContinue;
  }
  if (!allowed && !cors.ignore_unmatched_preflights && !cors.gateway_api) return Next::kContinue;
  if (allowed) AddPreflightHeaders(cors, *head_, arena_, cors_headers_);
  LocalReply reply;
  reply.status = 200;
  reply.details = "cors_response";
  Reply(reply);
  return Next::kDone;
}

Next Exchange::TakeRoute() {
  if (route_ == nullptr) {
    LocalReply reply;
    reply.status = 404;
    reply.details = "route_not_found";
    reply.flag = Flag::kNR;
    Reply(reply);
    return Next::kDone;
  }
  switch (route_->action) {
    case RouteProgram::Action::kRedirect:
      ReplyRedirect();
      return Next::kDone;
    case RouteProgram::Action::kDirect:
      ReplyDirect();
      return Next::kDone;
    case RouteProgram::Action::kForward:
      break;
  }
  stage_ = Stage::kForwarded;
  router_.Start({*head_, *route_, *downstream_, record_, trace_, arena_, start_us_, grpc_});
  return Next::kDone;
}

void Exchange::ReplyRedirect() {
  const StreamInfo& info = downstream_->info;
  const uint16_t port = info.authority.port != 0 ? info.authority.port : info.local.port;
  const std::string_view proto = head_->headers.Get(HeaderId::kXForwardedProto);
  const std::string location = route_->redirect.Location(route_->match, *head_, proto, port);
  const http::Header header{http::HeaderName(HeaderId::kLocation), location, HeaderId::kLocation};
  LocalReply reply;
  reply.status = route_->redirect.status();
  reply.details = "direct_response";
  reply.headers = {&header, 1};
  Reply(reply);
}

void Exchange::ReplyDirect() {
  const DirectProgram& direct = route_->direct;
  const http::Header type{http::HeaderName(HeaderId::kContentType), direct.content_type, HeaderId::kContentType};
  LocalReply reply;
  reply.status = direct.status;
  reply.body = direct.body;
  reply.details = "direct_response";
  if (direct.flag == FlagText(Flag::kNR)) reply.flag = Flag::kNR;
  if (!direct.content_type.empty() && !direct.body.empty()) reply.headers = {&type, 1};
  Reply(reply);
}

void Exchange::AddResponseHeader(std::string_view name, std::string_view value) {
  extra_headers_.push_back({arena_.Copy(name), arena_.Copy(value), http::HeaderIdOf(name)});
}

void Exchange::CollectBody(size_t max_bytes, std::function<void(std::string_view, bool)> done) {
  collected_ = std::move(done);
  collect_max_ = max_bytes;
  router_.HoldUpTo(max_bytes + 1);
  if (head_->expect_continue && !request_ended_ && router_.held_body().empty()) {
    // We are who waits for it. The upstream gets it without being asked.
    head_->expect_continue = false;
    http::ResponseHead go_on(arena_);
    go_on.status = 100;
    stream_->SendInformational(go_on);
  }
  // What is there is told in a turn of its own: the filter is not waiting yet.
  services_.context.loop.NextTurn(collected_task_);
}

void Exchange::CheckCollected() {
  if (!collected_ || stream_ == nullptr || response_ != Response::kNone) return;
  const std::span<const uint8_t> held = router_.held_body();
  const bool complete = request_ended_ && held.size() <= collect_max_;
  if (!complete && held.size() <= collect_max_) return;
  const auto done = std::move(collected_);
  collected_ = nullptr;
  const std::string_view body(reinterpret_cast<const char*>(held.data()), std::min(held.size(), collect_max_));
  done(body, complete);
}

}  // namespace weft::l7
