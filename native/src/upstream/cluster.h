#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/intrusive_list.h"
#include "http/stream.h"
#include "net/byte_stream.h"
#include "net/ip_address.h"

// Talking to clusters, as the router (l7/) sees it. Everything here lives on one loop; what all loops of the process
// count together (circuit breakers) is behind it.
namespace weft::upstream {

// What telemetry says of an endpoint. Immutable, shared by program snapshots.
struct WorkloadFacts {
  std::string name, namespace_name, canonical_service, canonical_revision, cluster_id, principal, app, version, node;
};

// One endpoint of a cluster on one loop: its pool, its active requests, its ejection. Lives as long as anything refers
// to it (EndpointRef), also after it has left its cluster.
class Endpoint {
 public:
  virtual const SocketAddress& address() const = 0;
  virtual std::string_view address_text() const = 0;  // "ip:port"
  virtual const WorkloadFacts& workload() const = 0;
  // By HBONE: mutual TLS to it.
  virtual bool tunnel() const = 0;

 protected:
  ~Endpoint() = default;
};
using EndpointRef = std::shared_ptr<Endpoint>;

// A field that a choice adds to the answer: a cookie or a header that keeps the client with its endpoint.
struct AnswerField {
  std::string_view name;  // of the cluster's configuration, or static
  std::string value;      // empty: none
};

// What a choice may look at.
struct PickContext {
  const http::RequestHead* request = nullptr;  // null: TCP
  IpAddress source;
  SocketAddress original_destination;
  // Endpoints that earlier attempts had; avoided as far as there are others.
  std::span<const EndpointRef> tried;
  // Retries: prefer other priorities than those tried.
  bool other_priorities = false;
  // Where a cookie or header goes that is made for consistent hashing or session persistence; may be null.
  AnswerField* answer = nullptr;
};

enum class PoolFailure : uint8_t {
  kOverflow,        // a circuit breaker is open: UO
  kConnectFailure,  // UF
  kConnectTimeout,  // UF
  kTlsFailure,      // UF; detail() has OpenSSL's words
  kGone,            // the cluster was removed or the process drains
};

class PoolQueue;

// Somebody who waits for a connection. Destruction gives up waiting.
class PoolWaiter {
 public:
  void GiveUp();
  // A connection with room. Opens one stream on it before it returns.
  virtual void OnConnection(http::ClientConnection& connection) = 0;
  virtual void OnPoolFailure(PoolFailure failure, std::string_view detail) = 0;

 protected:
  PoolWaiter() : link_(this) {}
  ~PoolWaiter() { GiveUp(); }

 public:
  ListLink<PoolWaiter> link_;

 private:
  friend class PoolQueue;
  PoolQueue* queue_ = nullptr;  // valid while link_ is linked
};

// How an attempt ended, for outlier detection.
struct Outcome {
  uint16_t status = 0;        // of the answer; 0: there was none
  bool local_origin = false;  // connect failure, timeout, reset: nothing the endpoint answered
};

class Cluster;

// One attempt at one endpoint, from Begin to its end. Counts as active request while it lives.
class Attempt {
 public:
  virtual ~Attempt() = default;
  virtual const EndpointRef& endpoint() const = 0;
  // Calls `waiter` now or later, once. HTTP/1 or HTTP/2 as the cluster and `downstream` say. `authority`: the
  // request's, which says whom TLS asks for where the cluster is one of many hosts.
  virtual void Connect(http::Protocol downstream, std::string_view authority, PoolWaiter& waiter) = 0;
  virtual void Report(const Outcome& outcome) = 0;
};

class Cluster {
 public:
  virtual ~Cluster() = default;

  virtual const std::string& name() const = 0;
  virtual const std::string& service_hostname() const = 0;
  virtual const std::string& service_namespace() const = 0;
  virtual const std::string& service_name() const = 0;

  // Null: nobody is there who may be asked (UH).
  virtual EndpointRef Pick(const PickContext& context) = 0;
  // Null: too many active requests (UO).
  virtual std::unique_ptr<Attempt> Begin(EndpointRef endpoint) = 0;
  // TCP and upgrades of protocols that are none of ours: a stream that connects. Null: too many connections (UO).
  virtual std::unique_ptr<ByteStream> Open(EndpointRef endpoint, const StreamInfo& downstream) = 0;
  // A retry may begin (max_retries, retry budget). RetryEnded must follow.
  virtual bool MayRetry() = 0;
  virtual void RetryEnded() = 0;
  virtual size_t endpoint_count() const = 0;
  virtual uint64_t tcp_idle_ms() const = 0;
  virtual uint64_t max_connection_duration_ms() const = 0;
};

// The clusters of one loop, by name.
class ClusterSet {
 public:
  virtual ~ClusterSet() = default;
  // Null: there is no such cluster (NC). The pointer keeps a removed cluster alive for those that use it.
  virtual std::shared_ptr<Cluster> Find(std::string_view name) = 0;
};

}  // namespace weft::upstream
