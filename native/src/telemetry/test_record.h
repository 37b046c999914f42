#pragma once

#include <memory>
#include <string>

#include "l7/record.h"
#include "telemetry/program.h"

namespace weft::telemetry {

class TestEndpoint final : public upstream::Endpoint {
 public:
  const SocketAddress& address() const override { return address_; }
  std::string_view address_text() const override { return "10.1.0.7:9080"; }
  const upstream::WorkloadFacts& workload() const override { return facts; }
  bool tunnel() const override { return true; }

  upstream::WorkloadFacts facts{"reviews-v1", "default",    "reviews",
                                "v1",         "Kubernetes", "spiffe://cluster.local/ns/default/sa/reviews",
                                "reviews",    "v1",         "node-1"};

 private:
  SocketAddress address_ = *SocketAddress::Parse("10.1.0.7:9080");
};

class TestCluster final : public upstream::Cluster {
 public:
  const std::string& name() const override { return name_; }
  const std::string& service_hostname() const override { return hostname_; }
  const std::string& service_namespace() const override { return namespace_; }
  const std::string& service_name() const override { return service_; }
  upstream::EndpointRef Pick(const upstream::PickContext&) override { return nullptr; }
  std::unique_ptr<upstream::Attempt> Begin(upstream::EndpointRef) override { return nullptr; }
  std::unique_ptr<ByteStream> Open(upstream::EndpointRef, const StreamInfo&) override { return nullptr; }
  bool MayRetry() override { return false; }
  void RetryEnded() override {}
  size_t endpoint_count() const override { return 1; }
  uint64_t tcp_idle_ms() const override { return 0; }
  uint64_t max_connection_duration_ms() const override { return 0; }

 private:
  std::string name_ = "inbound-vip|9080|http|reviews.default.svc.cluster.local";
  std::string hostname_ = "reviews.default.svc.cluster.local";
  std::string namespace_ = "default";
  std::string service_ = "reviews";
};

// A request with every field filled in; waypoint/src/telemetry/records.test.ts expects the same values.
struct TestRequest {
  StreamInfo downstream;
  TelemetryProgram program;
  std::shared_ptr<TestEndpoint> endpoint = std::make_shared<TestEndpoint>();
  l7::RequestRecord record;

  TestRequest() {
    downstream.local = *SocketAddress::Parse("10.1.0.9:15008");
    downstream.remote = *SocketAddress::Parse("10.1.0.3:41000");
    downstream.authority = *SocketAddress::Parse("10.96.0.5:9080");
    downstream.peer_identity = "spiffe://cluster.local/ns/default/sa/productpage";
    downstream.sni = "sni.example";
    downstream.alpn = "h2";
    downstream.tls = true;
    downstream.baggage =
        "k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.pod.name=productpage-v1,service.name=productpage,"
        "service.version=v1";
    program.name = "default/mesh";
    record.start_unix_ms = 1767323045678.25;
    record.duration_us = 12'345;
    record.upstream_first_byte_us = 9'876;
    record.request_received_us = 150;
    record.response_begun_us = 10'500;
    record.protocol = http::Protocol::kHttp2;
    record.method = "GET";
    record.path = "/reviews/1?x=y";
    record.original_path = "/old/1";
    record.scheme = "http";
    record.authority = "reviews:9080";
    record.status = 503;
    record.grpc_status = 14;
    record.grpc = true;
    record.flags.Set(l7::Flag::kUF);
    record.flags.Set(l7::Flag::kURX);
    record.details = "upstream_reset_before_response_started{remote connection failure}";
    record.termination_details = "why it ended";
    record.transport_failure = "delayed connect error: Connection refused";
    record.bytes_received = 11;
    record.bytes_sent = 5'000'000'000;
    record.request_header_bytes = 321;
    record.response_header_bytes = 123;
    record.grpc_request_messages = 2;
    record.grpc_response_messages = 3;
    record.request_id = "6a7e0b1c-0000-9000-8000-000000000000";
    record.user_agent = "curl/8 \xc3\xa9";
    record.forwarded_for = "192.0.2.1";
    record.attempts = 3;
    record.downstream = &downstream;
    record.client = *SocketAddress::Parse("192.0.2.1:0");
    record.upstream_local = "10.1.0.9:50000";
    record.endpoint = endpoint;
    record.cluster = std::make_shared<TestCluster>();
    record.cluster_name = record.cluster->name();
    record.route_name = "default";
    record.route_pattern = "/reviews*";
    record.destination = "default/reviews.default.svc.cluster.local";
    record.telemetry = &program;
    record.dry_run_deny = "denied ns[default]-policy[try]-rule[0]";
    record.dry_run_allow = "allowed";
    for (size_t i = 0; i < record.trace_id.size(); ++i) record.trace_id[i] = static_cast<uint8_t>(i + 1);
    for (size_t i = 0; i < record.span_id.size(); ++i) record.span_id[i] = static_cast<uint8_t>(i + 0x21);
    for (size_t i = 0; i < record.parent_span_id.size(); ++i) record.parent_span_id[i] = static_cast<uint8_t>(i + 0x41);
    record.sampled = true;
    record.request_headers = {{"end-user", "jason"}, {"x-empty", ""}};
    record.response_headers = {{"etag", "\"7\""}};
  }
};

}  // namespace weft::telemetry
