#include "telemetry/series_key.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <string_view>

#include "telemetry/program.h"

namespace weft::telemetry {
namespace {

constexpr size_t kTexts = 16;
constexpr size_t kFixedBytes = 12;

enum Protocol : uint8_t { kHttp = 0, kGrpc = 1, kTcp = 2 };
enum Bits : uint8_t { kTls = 1, kEndpoint = 2, kOther = 4 };

}  // namespace

SeriesKey::SeriesKey() : bytes_(kFixedBytes + kTexts * (sizeof(uint16_t) + kMaxTextBytes)) {}

void SeriesKey::Begin(const l7::RequestRecord& record, uint8_t bits, bool ended) {
  uint8_t* at = bytes_.data();
  at[0] = record.tcp ? kTcp : record.grpc ? kGrpc : kHttp;
  at[1] = bits;
  const uint16_t status = ended ? record.status : 0;
  const int32_t grpc_status = ended ? record.grpc_status : -1;
  const uint32_t flags = ended ? record.flags.bits() : 0;
  std::memcpy(at + 2, &status, sizeof status);
  std::memcpy(at + 4, &grpc_status, sizeof grpc_status);
  std::memcpy(at + 8, &flags, sizeof flags);
  size_ = kFixedBytes;
}

void SeriesKey::Text(std::string_view text) {
  const auto n = static_cast<uint16_t>(std::min(text.size(), kMaxTextBytes));
  std::memcpy(bytes_.data() + size_, &n, sizeof n);
  if (n > 0) std::memcpy(bytes_.data() + size_ + sizeof n, text.data(), n);
  size_ += sizeof n + n;
}

void SeriesKey::Write(const l7::RequestRecord& record, Moment moment) {
  uint8_t bits = 0;
  if (record.downstream != nullptr && record.downstream->tls) bits |= kTls;
  if (record.endpoint != nullptr) bits |= kEndpoint;
  Begin(record, bits, moment == Moment::kEnded);
  Text(record.destination);
  Text(record.cluster_name);
  Text(record.telemetry != nullptr ? std::string_view(record.telemetry->name) : std::string_view());
  if (record.downstream != nullptr) {
    Text(record.downstream->peer_identity);
    Text(record.downstream->baggage);
  } else {
    Text({});
    Text({});
  }
  if (record.cluster != nullptr) {
    Text(record.cluster->service_namespace());
    Text(record.cluster->service_hostname());
    Text(record.cluster->service_name());
  } else {
    for (int i = 0; i < 3; ++i) Text({});
  }
  if (record.endpoint != nullptr) {
    const upstream::WorkloadFacts& workload = record.endpoint->workload();
    Text(workload.name);
    Text(workload.namespace_name);
    Text(workload.canonical_service);
    Text(workload.canonical_revision);
    Text(workload.cluster_id);
    Text(workload.principal);
    Text(workload.app);
    Text(workload.version);
  } else {
    for (int i = 0; i < 8; ++i) Text({});
  }
}

void SeriesKey::WriteOther(const l7::RequestRecord& record) {
  Begin(record, kOther, false);
  for (size_t i = 0; i < kTexts; ++i) Text({});
}

uint64_t SeriesKey::Hash() const {
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(bytes_.data()), size_});
}

}  // namespace weft::telemetry
