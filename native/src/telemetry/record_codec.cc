#include "telemetry/record_codec.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "telemetry/pack.h"
#include "telemetry/program.h"

namespace weft::telemetry {
namespace {

constexpr size_t kTexts = 39;

std::string_view TelemetryName(const l7::RequestRecord& record) {
  return record.telemetry != nullptr ? std::string_view(record.telemetry->name) : std::string_view();
}

std::string AddressText(const SocketAddress& address) {
  return address == SocketAddress() ? std::string() : address.ToString();
}

// Through a tunnel the client asked for the authority: that is the local end that it sees.
std::string LocalText(const StreamInfo& info) {
  return AddressText(info.authority.port != 0 ? info.authority : info.local);
}

void WriteFixed(const l7::RequestRecord& record, Pack& pack) {
  const StreamInfo* downstream = record.downstream;
  pack.Number<uint8_t>(record.tcp);
  pack.Number<uint8_t>(static_cast<uint8_t>(record.protocol));
  pack.Number<uint8_t>(record.grpc);
  pack.Number<uint8_t>(record.sampled);
  pack.Number(record.status);
  pack.Number<uint8_t>(downstream != nullptr && downstream->tls);
  pack.Number<uint8_t>(record.endpoint != nullptr ? 1 + record.endpoint->tunnel() : 0);
  pack.Number(record.grpc_status);
  pack.Number(record.flags.bits());
  pack.Number(record.attempts);
  pack.Number(record.start_unix_ms);
  pack.Count(record.duration_us);
  pack.Count(record.upstream_first_byte_us);
  pack.Count(record.request_received_us);
  pack.Count(record.response_begun_us);
  pack.Count(record.bytes_received);
  pack.Count(record.bytes_sent);
  pack.Count(record.request_header_bytes);
  pack.Count(record.response_header_bytes);
  pack.Count(record.grpc_request_messages);
  pack.Count(record.grpc_response_messages);
  pack.Bytes(record.trace_id.data(), record.trace_id.size());
  pack.Bytes(record.span_id.data(), record.span_id.size());
  pack.Bytes(record.parent_span_id.data(), record.parent_span_id.size());
  pack.Number(static_cast<uint16_t>(record.request_headers.size()));
  pack.Number(static_cast<uint16_t>(record.response_headers.size()));
}

}  // namespace

void EncodeRecord(const l7::RequestRecord& record, std::vector<uint8_t>& bytes) {
  static const StreamInfo kNoStream;
  static const upstream::WorkloadFacts kNoWorkload;
  const StreamInfo& downstream = record.downstream != nullptr ? *record.downstream : kNoStream;
  const upstream::WorkloadFacts& workload = record.endpoint != nullptr ? record.endpoint->workload() : kNoWorkload;
  const upstream::Cluster* cluster = record.cluster.get();
  const std::string local = LocalText(downstream);
  const std::string remote = AddressText(downstream.remote);
  const std::string client = AddressText(record.client);
  const std::array<std::string_view, kTexts> texts = {
      record.method,
      record.path,
      record.original_path,
      record.scheme,
      record.authority,
      record.details,
      record.termination_details,
      record.transport_failure,
      record.request_id,
      record.user_agent,
      record.forwarded_for,
      local,
      remote,
      client,
      downstream.peer_identity,
      downstream.sni,
      downstream.alpn,
      downstream.baggage,
      record.upstream_local,
      record.endpoint != nullptr ? record.endpoint->address_text() : std::string_view(),
      record.cluster_name,
      record.route_name,
      record.route_pattern,
      record.destination,
      TelemetryName(record),
      cluster != nullptr ? std::string_view(cluster->service_namespace()) : std::string_view(),
      cluster != nullptr ? std::string_view(cluster->service_hostname()) : std::string_view(),
      cluster != nullptr ? std::string_view(cluster->service_name()) : std::string_view(),
      workload.name,
      workload.namespace_name,
      workload.canonical_service,
      workload.canonical_revision,
      workload.cluster_id,
      workload.principal,
      workload.app,
      workload.version,
      workload.node,
      record.dry_run_deny,
      record.dry_run_allow,
  };

  Pack pack(bytes);
  const size_t start = bytes.size();
  pack.Number<uint32_t>(0);  // set below
  WriteFixed(record, pack);
  uint32_t end = 0;
  const auto add_end = [&](std::string_view text) {
    end += static_cast<uint32_t>(std::min(text.size(), kMaxTextBytes));
    pack.Number(end);
  };
  const auto add_text = [&](std::string_view text) { pack.Bytes(text.data(), std::min(text.size(), kMaxTextBytes)); };
  const auto each = [&](const auto& add) {
    for (const std::string_view text : texts) add(text);
    for (const auto* headers : {&record.request_headers, &record.response_headers}) {
      for (const auto& [name, value] : *headers) {
        add(name);
        add(value);
      }
    }
  };
  each(add_end);
  each(add_text);
  const auto length = static_cast<uint32_t>(bytes.size() - start);
  std::memcpy(bytes.data() + start, &length, sizeof length);
}

}  // namespace weft::telemetry
