#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "http/stream.h"
#include "l7/upstream_failure.h"
#include "loop/loop_context.h"
#include "net/ip_address.h"
#include "upstream/cluster.h"

namespace weft::l7 {

// One attempt of a request at one endpoint: waits for a connection, opens a stream on it, and tells the endpoint's
// outlier detection how it went. Used again for the next attempt once it is idle().
class UpstreamRequest final : private upstream::PoolWaiter, private http::ClientStream::Handler {
 public:
  class Owner {
   public:
    // The stream is open; the head is on its way.
    virtual void OnAttemptOpen() = 0;
    virtual void OnAttemptInformational(const http::ResponseHead& head) = 0;
    virtual void OnAttemptHead(http::ResponseHead& head, bool end) = 0;
    virtual void OnAttemptBody(std::span<const uint8_t> bytes, bool end) = 0;
    virtual void OnAttemptEnd(const http::HeaderMap* trailers) = 0;
    virtual void OnAttemptWritable() = 0;
    // The answer is not whole. OnAttemptClosed follows.
    virtual void OnAttemptFailed(UpstreamFailure failure, std::string_view detail) = 0;
    // Nothing is called any more.
    virtual void OnAttemptClosed() = 0;

   protected:
    ~Owner() = default;
  };

  UpstreamRequest(LoopContext& context, Owner& owner) : context_(context), owner_(owner) {}
  ~UpstreamRequest();

  // `head` and, when `end` says so, nothing else. May call the owner before it returns.
  void Start(std::unique_ptr<upstream::Attempt> attempt, const http::RequestHead& head, bool end, bool grpc);
  // Ends it, whatever state it is in, without a call to the owner.
  void Reset();
  // For another request: forgets where the last one went.
  void Forget() { local_ = {}; }
  // It took too long.
  void ReportTimeout();

  bool idle() const { return attempt_ == nullptr; }
  bool open() const { return stream_ != nullptr; }
  bool response_ended() const { return response_ended_; }
  bool opened() const { return opened_; }
  void SendBody(std::span<const uint8_t> bytes, bool end) {
    if (stream_ != nullptr) stream_->SendBody(bytes, end);
  }
  void SendTrailers(const http::HeaderMap& trailers) {
    if (stream_ != nullptr) stream_->SendTrailers(trailers);
  }
  size_t WriteRoom() const { return stream_ == nullptr ? 0 : stream_->WriteRoom(); }
  void PauseBody() {
    if (stream_ != nullptr) stream_->PauseBody();
  }
  void ResumeBody() {
    if (stream_ != nullptr) stream_->ResumeBody();
  }
  // Of the last connection; port 0: there was none.
  const SocketAddress& local() const { return local_; }

 private:
  struct Early {
    UpstreamFailure failure;
    std::string detail;
  };

  // upstream::PoolWaiter
  void OnConnection(http::ClientConnection& connection) override;
  void OnPoolFailure(upstream::PoolFailure failure, std::string_view detail) override;
  // http::ClientStream::Handler
  void OnInformational(const http::ResponseHead& head) override { owner_.OnAttemptInformational(head); }
  void OnHead(http::ResponseHead& head, bool end) override;
  void OnBody(std::span<const uint8_t> bytes, bool end) override;
  void OnResponseEnd(const http::HeaderMap* trailers) override;
  void OnStreamWritable() override { owner_.OnAttemptWritable(); }
  void OnStreamClosed(http::StreamError error) override;

  void Fail(UpstreamFailure failure, std::string_view detail);
  void ReportGrpc(const http::HeaderMap& headers);
  void Report(const upstream::Outcome& outcome);

  LoopContext& context_;
  Owner& owner_;
  std::unique_ptr<upstream::Attempt> attempt_;
  const http::RequestHead* head_ = nullptr;
  http::ClientStream* stream_ = nullptr;
  SocketAddress local_;
  bool end_with_head_ = false;
  bool grpc_ = false;
  bool connecting_ = false;  // inside Attempt::Connect
  bool opened_ = false;
  bool response_ended_ = false;
  bool reported_ = false;
  std::optional<Early> early_;  // it failed inside Attempt::Connect
};

}  // namespace weft::l7
