#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "http/stream.h"
#include "l7/downstream.h"
#include "l7/filter.h"
#include "l7/program.h"
#include "l7/record.h"
#include "l7/request_buffer.h"
#include "l7/services.h"
#include "l7/upstream_request.h"

namespace weft::l7 {

// The end of the filter chain: takes a request to a cluster, as often as its retry policy says, within its time, and
// hands the answer back. Has the request's body from its first byte, also while filters still think.
class Router final : private UpstreamRequest::Owner {
 public:
  class Owner {
   public:
    virtual void OnUpstreamInformational(const http::ResponseHead& head) = 0;
    virtual void OnUpstreamHead(http::ResponseHead& head, bool end) = 0;
    virtual void OnUpstreamBody(std::span<const uint8_t> bytes, bool end) = 0;
    virtual void OnUpstreamEnd(const http::HeaderMap* trailers) = 0;
    // There is no answer but this one.
    virtual void OnRouterReply(const LocalReply& reply) = 0;
    // The answer that has begun will not come to its end.
    virtual void OnResponseCut(Flag flag, std::string_view details) = 0;
    // A header that a load balancer adds to the answer, a cookie.
    virtual void OnBalancerField(std::string_view name, std::string_view value) = 0;
    virtual void PauseRequestBody() = 0;
    virtual void ResumeRequestBody() = 0;
    // idle() may have become true.
    virtual void OnRouterIdle() = 0;

   protected:
    ~Owner() = default;
  };
  struct Request {
    http::RequestHead& head;
    const RouteProgram& route;
    const Downstream& downstream;
    RequestRecord& record;
    telemetry::RequestTrace& trace;
    Arena& arena;
    uint64_t start_us;
    bool grpc;
  };

  // Of a body that its upstream does not take, or that a filter does not let pass yet.
  static constexpr size_t kHighWaterBytes = 64 * 1024;

  Router(LoopServices& services, Owner& owner);

  // The request may go.
  void Start(const Request& request);
  void OnRequestBody(std::span<const uint8_t> bytes, bool end);
  void OnRequestTrailers(const http::HeaderMap* trailers);
  // What has come before Start.
  std::span<const uint8_t> held_body() { return buffer_.unsent(); }
  // More of it than usual may be held, until Start: somebody wants to see it.
  void HoldUpTo(size_t bytes);
  // The response headers that the route and its destination ask for.
  void EditResponse(http::ResponseHead& head);
  void PauseResponse() { upstream_.PauseBody(); }
  void ResumeResponse() { upstream_.ResumeBody(); }
  // Nobody waits for an answer any more, or it is there. What is going on upstream is reset unless it is over.
  void Stop();
  // Nothing of an upstream can call any more.
  bool idle() const { return upstream_.idle(); }
  // Of the last connection upstream; port 0: there was none.
  const SocketAddress& upstream_local() const { return upstream_.local(); }
  // For the next request. Only when idle().
  void Reset();

 private:
  // UpstreamRequest::Owner
  void OnAttemptOpen() override { Pump(); }
  void OnAttemptInformational(const http::ResponseHead& head) override;
  void OnAttemptHead(http::ResponseHead& head, bool end) override;
  void OnAttemptBody(std::span<const uint8_t> bytes, bool end) override;
  void OnAttemptEnd(const http::HeaderMap* trailers) override;
  void OnAttemptWritable() override { Pump(); }
  void OnAttemptFailed(UpstreamFailure failure, std::string_view detail) override;
  void OnAttemptClosed() override;

  // What is done to the request before its first attempt (router_request.cc).
  bool ChooseCluster();
  void EditRequest();
  void SetTimeout();
  void ChooseMirrors();

  void StartAttempt();
  void Fail(UpstreamFailure failure, std::string_view detail);
  void ReplyFailure(UpstreamFailure failure, std::string_view detail);
  void ReplyUnavailable();
  bool ScheduleRetry();
  void EndRetry();
  void OnRequestComplete();
  void StartMirrors();
  void OnTimeout();
  void OnPerTryTimeout();
  void Pump();
  void Hold();
  void ResponseDone();
  const ForwardProgram& forward() const { return request_->route.forward; }
  uint32_t Random() { return static_cast<uint32_t>(services_.random.Next() >> 32); }

  LoopServices& services_;
  Owner& owner_;
  std::optional<Request> request_;
  RequestBuffer buffer_;
  UpstreamRequest upstream_;
  std::shared_ptr<upstream::Cluster> cluster_;
  const WeightedClusterProgram* weighted_ = nullptr;
  const RetryProgram* retry_ = nullptr;
  upstream::AnswerField balancer_field_;
  std::vector<upstream::EndpointRef> tried_;
  std::vector<const MirrorProgram*> mirrors_;
  std::optional<http::HeaderMap> trailers_;
  size_t high_water_ = kHighWaterBytes;
  uint64_t timeout_ms_ = 0;
  uint32_t retries_ = 0;
  bool retry_counted_ = false;  // in the cluster's concurrent retries
  bool tunnel_ = false;         // an upgrade or CONNECT: bytes both ways once it stands
  bool tunnel_up_ = false;
  bool request_ended_ = false;
  bool end_sent_ = false;
  bool response_begun_ = false;
  bool response_ended_ = false;
  bool draining_ = false;  // the rest of an answer that is tried again
  bool paused_ = false;    // the client is
  bool stopped_ = false;
  Timer timeout_timer_;
  Timer per_try_timer_;
  Timer backoff_timer_;
};

}  // namespace weft::l7
