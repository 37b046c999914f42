#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "base/clock.h"
#include "base/intrusive_list.h"
#include "http/stream.h"
#include "l7/downstream.h"
#include "l7/filter.h"
#include "l7/grpc.h"
#include "l7/record.h"
#include "l7/router.h"
#include "l7/services.h"

namespace weft::l7 {

// One request and its answer, from the head that a codec has read to the record in the log: chooses the route, lets the
// filters see it, has the router forward it, and writes what comes back. An object is used for one request after the
// other (exchange_pool.h).
class Exchange final : public http::ServerStream::Handler, private FilterContext, private Router::Owner {
 public:
  explicit Exchange(LoopServices& services);

  // Takes a request from its codec, in ServerConnection::Owner::OnRequest. `downstream` and `handle` outlive it.
  void Begin(http::ServerStream& stream, http::RequestHead& head, bool end, const Downstream& downstream,
             const ChainHandle& handle);
  // Makes it new. Only for its pool, when it is over.
  void Reset();

  // http::ServerStream::Handler
  void OnBody(std::span<const uint8_t> bytes, bool end) override;
  void OnRequestEnd(const http::HeaderMap* trailers) override;
  void OnStreamWritable() override;
  void OnStreamClosed(http::StreamError error) override;

  ListLink<Exchange> link_;

 private:
  enum class Response : uint8_t {
    kNone,
    kPrepared,  // an answer of our own, about to be sent
    kBody,      // the head is sent
    kDone,
  };
  // In the order in which a request passes them.
  enum class Stage : uint8_t { kSecurity, kRateLimits, kAuthorizer, kFault, kCors, kRoute, kForwarded };

  // FilterContext
  http::RequestHead& request() override { return *head_; }
  bool request_ended() const override { return request_ended_; }
  const StreamInfo& downstream() const override { return downstream_->info; }
  const SocketAddress& client() const override { return record_.client; }
  const RouteProgram* route() const override { return route_; }
  const ChainProgram& chain() const override { return *chain_; }
  Arena& arena() override { return arena_; }
  uint64_t now_ms() const override { return services_.context.loop.now_ms(); }
  double unix_ms() const override { return UnixMs(); }
  uint32_t Random() override { return static_cast<uint32_t>(services_.random.Next() >> 32); }
  upstream::ClusterSet& clusters() override { return services_.clusters; }
  LoopContext& loop() override { return services_.context; }
  void SetFlag(Flag flag) override { record_.flags.Set(flag); }
  void NoteDryRun(std::string_view deny, std::string_view allow) override {
    record_.dry_run_deny = deny;
    record_.dry_run_allow = allow;
  }
  const security::VerifiedToken* token() const override { return token_.get(); }
  void SetToken(std::shared_ptr<const security::VerifiedToken> token) override { token_ = std::move(token); }
  void AddResponseHeader(std::string_view name, std::string_view value) override;
  void InvalidateRoute() override { route_valid_ = false; }
  void CollectBody(size_t max_bytes, std::function<void(std::string_view body, bool complete)> done) override;
  void Reply(const LocalReply& reply) override;
  void Continue() override;

  // Router::Owner (exchange_response.cc)
  void OnUpstreamInformational(const http::ResponseHead& head) override;
  void OnUpstreamHead(http::ResponseHead& head, bool end) override;
  void OnUpstreamBody(std::span<const uint8_t> bytes, bool end) override;
  void OnUpstreamEnd(const http::HeaderMap* trailers) override;
  void OnRouterReply(const LocalReply& reply) override { Reply(reply); }
  void OnResponseCut(Flag flag, std::string_view details) override;
  void OnBalancerField(std::string_view name, std::string_view value) override { AddResponseHeader(name, value); }
  void PauseRequestBody() override;
  void ResumeRequestBody() override;
  void OnRouterIdle() override { GiveBackIfOver(); }

  // The request's way (exchange_filters.cc).
  void MatchRoute();
  void RunStages();
  Next RunStage();
  Next RunFilter(std::unique_ptr<Filter> filter);
  Next RunFault();
  Next AbortByFault();
  Next RunCors();
  Next TakeRoute();
  void EditLocalHead();
  void ReplyRedirect();
  void ReplyDirect();
  void CheckCollected();

  // The answer's way (exchange_response.cc).
  void SendPrepared();
  void SendHead(http::ResponseHead& head, bool end);
  void WriteBody(std::span<const uint8_t> bytes, bool end);
  void EndWithTrailers(const http::HeaderMap& trailers);
  void Cut(http::StreamError error);

  void Touch() { last_active_ms_ = services_.context.loop.now_ms(); }
  void OnIdleTimer();
  void NoteRequestEnd();
  bool in_detail() const;
  void Finish();
  void WriteRecord();
  void GiveBackIfOver();

  LoopServices& services_;
  http::ServerStream* stream_ = nullptr;  // null: it is closed
  http::RequestHead* head_ = nullptr;
  const Downstream* downstream_ = nullptr;
  std::shared_ptr<const ChainProgram> chain_;
  const RouteProgram* route_ = nullptr;
  bool route_valid_ = false;
  bool grpc_ = false;
  bool beginning_ = false;  // inside OnRequest of the codec: it cannot be answered yet
  bool in_filter_ = false;
  bool continued_ = false;  // a filter that wants to wait has continued already
  bool waiting_ = false;    // for Continue()
  bool request_ended_ = false;
  bool given_back_ = false;
  Response response_ = Response::kNone;
  Stage stage_ = Stage::kSecurity;

  Arena arena_;
  Router router_;
  RequestRecord record_;
  telemetry::RequestTrace trace_;
  uint64_t start_us_ = 0;
  GrpcMessageCounter request_messages_, response_messages_;
  std::shared_ptr<const security::VerifiedToken> token_;
  std::vector<std::unique_ptr<Filter>> filters_;  // all that were begun: they may be on the stack
  std::vector<http::Header> extra_headers_;       // of the answer
  std::vector<http::Header> cors_headers_;        // in place of the server's
  std::function<void(std::string_view, bool)> collected_;
  size_t collect_max_ = 0;

  http::ResponseHead local_head_;
  std::string_view local_body_;
  Buffer unsent_;  // of the answer, what the client does not take yet
  bool unsent_end_ = false;
  std::optional<http::HeaderMap> unsent_trailers_;

  uint64_t last_active_ms_ = 0;
  Timer idle_timer_;
  Timer delay_timer_;
  TurnTask reply_task_;
  TurnTask collected_task_;
};

}  // namespace weft::l7
