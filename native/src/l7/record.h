#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "http/message.h"
#include "l7/flags.h"
#include "net/ip_address.h"
#include "upstream/cluster.h"

namespace weft::telemetry {
struct TelemetryProgram;  // telemetry/program.h: the compiled Telemetry
}

namespace weft::l7 {

// Everything that is known of one request, or of one TCP connection, at its end: what metrics, the access log and spans
// are made of. Mirrored by waypoint/src/native.ts. Texts are views into the exchange and live during the call only.
struct RequestRecord {
  bool tcp = false;
  double start_unix_ms = 0;
  // Microseconds since the start; 0: did not happen.
  uint64_t duration_us = 0;
  uint64_t upstream_first_byte_us =
      0;                             // request fully sent to first byte of the answer, as x-envoy-upstream-service-time
  uint64_t request_received_us = 0;  // last byte of the request
  uint64_t response_begun_us = 0;    // first byte to the client

  http::Protocol protocol = http::Protocol::kHttp11;
  std::string_view method, path, original_path, scheme, authority;
  uint16_t status = 0;
  int32_t grpc_status = -1;  // -1: none, or not gRPC
  bool grpc = false;
  Flags flags;
  std::string_view details;              // RESPONSE_CODE_DETAILS
  std::string_view termination_details;  // CONNECTION_TERMINATION_DETAILS
  std::string_view transport_failure;    // UPSTREAM_TRANSPORT_FAILURE_REASON
  uint64_t bytes_received = 0;           // bodies only, as Envoy's
  uint64_t bytes_sent = 0;
  uint64_t request_header_bytes = 0;
  uint64_t response_header_bytes = 0;
  uint64_t grpc_request_messages = 0;
  uint64_t grpc_response_messages = 0;
  std::string_view request_id, user_agent, forwarded_for;
  uint32_t attempts = 0;

  const StreamInfo* downstream = nullptr;
  SocketAddress client;
  std::string_view upstream_local;  // "ip:port"
  upstream::EndpointRef endpoint;   // null: none was chosen
  std::shared_ptr<upstream::Cluster> cluster;
  std::string_view cluster_name;  // also when there is no such cluster
  std::string_view route_name;
  // The path of the route's match, for names of spans: "/x" exact, "/x*" prefix, regex as written; empty: any.
  std::string_view route_pattern;
  std::string_view destination;                            // name of the Destination
  const telemetry::TelemetryProgram* telemetry = nullptr;  // in force; null: none

  // What policies of each action that are only tried would have said: "denied" or "allowed", then, where one of them
  // matched, which one, as in `details`. Empty: there are none.
  std::string_view dry_run_deny, dry_run_allow;

  // TCP: what OnTcpProgress has told already of bytes_received and bytes_sent.
  uint64_t reported_received = 0;
  uint64_t reported_sent = 0;

  // Trace: all zero when there is none.
  std::array<uint8_t, 16> trace_id{};
  std::array<uint8_t, 8> span_id{};
  std::array<uint8_t, 8> parent_span_id{};
  bool sampled = false;

  // What Telemetry asks for, by name; absent headers are left out.
  std::vector<std::pair<std::string_view, std::string_view>> request_headers;
  std::vector<std::pair<std::string_view, std::string_view>> response_headers;

  bool has_dry_run() const { return !dry_run_deny.empty() || !dry_run_allow.empty(); }
};

// Takes the records of one loop. Must not block.
class RecordSink {
 public:
  virtual void OnRecord(const RequestRecord& record) = 0;
  // TCP, before OnRecord: it has been taken and its cluster is chosen; then every kTcpReportMs in which bytes moved
  // what they were, so that long connections show while they last.
  static constexpr uint64_t kTcpReportMs = 5'000;
  virtual void OnTcpOpened(const RequestRecord& record) = 0;
  virtual void OnTcpProgress(const RequestRecord& record, uint64_t received, uint64_t sent) = 0;

 protected:
  ~RecordSink() = default;
};

}  // namespace weft::l7
