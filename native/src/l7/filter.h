#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/arena.h"
#include "http/message.h"
#include "l7/flags.h"
#include "loop/loop_context.h"
#include "net/byte_stream.h"
#include "security/verified_token.h"
#include "upstream/cluster.h"

namespace weft::l7 {

struct ChainProgram;  // l7/program.h: the compiled Chain
struct RouteProgram;

// An answer that the proxy makes itself. For gRPC requests it becomes a trailers-only response (local_reply.cc).
struct LocalReply {
  uint16_t status = 500;
  std::string_view body;     // text/plain unless a header says otherwise
  std::string_view details;  // RESPONSE_CODE_DETAILS
  std::optional<Flag> flag;
  std::optional<uint32_t> grpc_status;    // in place of the one that comes from `status`
  std::span<const http::Header> headers;  // added
};

// One request, as filters see it: between its head and the router. Filters run in this order (l7/filter_chain.cc):
//   CUSTOM external authorization, JWT, RBAC, rate limits, fault, CORS; then the router.
class FilterContext {
 public:
  virtual http::RequestHead& request() = 0;
  virtual bool request_ended() const = 0;
  virtual const StreamInfo& downstream() const = 0;
  // The client: x-forwarded-for as far as proxies are trusted, else the downstream peer.
  virtual const SocketAddress& client() const = 0;
  // The route is matched before filters run (and again if one changes what it was matched by). Null: there is none.
  virtual const RouteProgram* route() const = 0;
  virtual const ChainProgram& chain() const = 0;
  virtual Arena& arena() = 0;
  virtual uint64_t now_ms() const = 0;  // CLOCK_MONOTONIC
  virtual double unix_ms() const = 0;
  virtual uint32_t Random() = 0;
  virtual upstream::ClusterSet& clusters() = 0;
  virtual LoopContext& loop() = 0;

  virtual void SetFlag(Flag flag) = 0;
  // What policies that are only tried would have said (RequestRecord::dry_run_*). Texts of arena().
  virtual void NoteDryRun(std::string_view deny, std::string_view allow) = 0;
  // What the token said, once JWT has run. Null: no valid token.
  virtual const security::VerifiedToken* token() const = 0;
  virtual void SetToken(std::shared_ptr<const security::VerifiedToken> token) = 0;
  // Added to whatever answer the client gets in the end.
  virtual void AddResponseHeader(std::string_view name, std::string_view value) = 0;
  // Routes depend on something that has changed (headers from an authorizer): match again before the next filter.
  virtual void InvalidateRoute() = 0;
  // Collects the body up to `max_bytes` and calls `done` (complete: all of it is there); what was collected still goes
  // upstream. Only from OnRequest, which returns kWait.
  virtual void CollectBody(size_t max_bytes, std::function<void(std::string_view body, bool complete)> done) = 0;
  // Ends the request with this answer. After it the filter returns kDone, or returns if it was waiting.
  virtual void Reply(const LocalReply& reply) = 0;
  // After kWait: goes on with the next filter.
  virtual void Continue() = 0;

 protected:
  ~FilterContext() = default;
};

enum class Next : uint8_t {
  kContinue,
  kWait,  // Continue() or Reply() follows in a later turn
  kDone,  // Reply() was called
};

// What one filter needs while it works on one request; destroyed with the request, whatever it was waiting for.
class Filter {
 public:
  virtual ~Filter() = default;
  virtual Next OnRequest(FilterContext& context) = 0;
};

}  // namespace weft::l7
