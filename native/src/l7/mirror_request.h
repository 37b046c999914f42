#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/arena.h"
#include "base/intrusive_list.h"
#include "l7/upstream_request.h"

namespace weft::l7 {

// A copy of a request whose answer nobody waits for. Lives on its own: the exchange that it was made of may be over.
class MirrorRequest final : private UpstreamRequest::Owner {
 public:
  // Counts itself in `running` for as long as it lives.
  MirrorRequest(LoopContext& context, size_t& running, const http::RequestHead& head, std::span<const uint8_t> body,
                bool grpc);
  ~MirrorRequest() { --running_; }
  // False: nobody is there to be asked.
  bool Start(upstream::Cluster& cluster, const IpAddress& source, uint64_t timeout_ms);

  ListLink<MirrorRequest> link_;

 private:
  void OnAttemptOpen() override { Send(); }
  void OnAttemptInformational(const http::ResponseHead&) override {}
  void OnAttemptHead(http::ResponseHead&, bool) override {}
  void OnAttemptBody(std::span<const uint8_t>, bool) override {}
  void OnAttemptEnd(const http::HeaderMap*) override {}
  void OnAttemptWritable() override { Send(); }
  void OnAttemptFailed(UpstreamFailure, std::string_view) override {}
  void OnAttemptClosed() override { End(); }

  void Send();
  void End();

  LoopContext& context_;
  size_t& running_;
  Arena arena_;
  http::RequestHead head_;
  std::string_view body_;
  bool grpc_;
  UpstreamRequest upstream_;
  Timer timer_;
};

// The mirrored requests of a loop.
class MirrorSet {
 public:
  // A mirror that does not answer must not fill the memory.
  static constexpr size_t kMaxRequests = 1024;
  static constexpr uint64_t kDefaultTimeoutMs = 15'000;

  explicit MirrorSet(LoopContext& context) : context_(context) {}
  ~MirrorSet();

  void Start(upstream::Cluster& cluster, const http::RequestHead& head, std::span<const uint8_t> body, bool grpc,
             const IpAddress& source, uint64_t timeout_ms);
  size_t size() const { return running_; }

 private:
  LoopContext& context_;
  size_t running_ = 0;
  IntrusiveList<MirrorRequest> requests_;
};

}  // namespace weft::l7
