#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/stream.h"
#include "loop/loop_context.h"
#include "upstream/cluster.h"

namespace weft::security {

// A request that the proxy itself makes of a service: an authorizer, a rate limit service.
struct CallRequest {
  std::string method = "POST";
  std::string path;
  std::string authority;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  bool grpc = false;  // `body` is one message; framing, content type and status are added
  uint64_t timeout_ms = 0;
};

struct CallAnswer {
  // Empty: there is an answer. Else why there is none, for the log.
  std::string failure;
  bool timed_out = false;
  uint16_t status = 0;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;  // gRPC: the message
};

// One such request. Bounded in time and in what it takes for an answer; destruction gives it up.
class ServiceCall final : private upstream::PoolWaiter, private http::ClientStream::Handler {
 public:
  // Of an answer; an authorizer's page for people fits.
  static constexpr size_t kMaxAnswerBytes = 256 * 1024;

  class Owner {
   public:
    // Once, from a later turn. May destroy the call.
    virtual void OnAnswer(CallAnswer answer) = 0;

   protected:
    ~Owner() = default;
  };

  ServiceCall(LoopContext& context, Owner& owner, CallRequest request);
  ~ServiceCall();
  void Start(upstream::ClusterSet& clusters, std::string_view cluster);

 private:
  void OnConnection(http::ClientConnection& connection) override;
  void OnPoolFailure(upstream::PoolFailure failure, std::string_view detail) override;
  void OnInformational(const http::ResponseHead&) override {}
  void OnHead(http::ResponseHead& head, bool end) override;
  void OnBody(std::span<const uint8_t> bytes, bool end) override;
  void OnResponseEnd(const http::HeaderMap* trailers) override;
  void OnStreamWritable() override;
  void OnStreamClosed(http::StreamError error) override;

  void SendMore();
  void Complete();
  void Fail(std::string why, bool timed_out = false);
  void Finish();

  LoopContext& context_;
  Owner& owner_;
  CallRequest request_;
  CallAnswer answer_;
  std::shared_ptr<upstream::Cluster> cluster_;
  std::unique_ptr<upstream::Attempt> attempt_;
  http::ClientStream* stream_ = nullptr;
  size_t sent_ = 0;
  std::string grpc_status_;
  std::string grpc_message_;
  bool response_done_ = false;
  bool done_ = false;
  Timer timer_;
  TurnTask failed_;
};

}  // namespace weft::security
