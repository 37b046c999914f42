#include "telemetry/series_book.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "telemetry/pack.h"

namespace weft::telemetry {
namespace {

// One more than kMaxSeries and the three "other" ones need, doubled: probes stay short.
constexpr size_t kSlots = 16'384;
static_assert((kSlots & (kSlots - 1)) == 0 && kSlots >= 2 * (SeriesBook::kMaxSeries + 3));
constexpr uint64_t kUsPerMs = 1'000;
constexpr size_t kBuckets = kBoundHalves.size() + 1;

struct HistogramSum {
  std::array<uint64_t, kBuckets> counts{};
  uint64_t sum = 0;

  void Add(const HistogramTally& tally) {
    for (size_t i = 0; i < kBuckets; ++i) counts[i] += tally.count(i).value();
    sum += tally.sum();
  }
  void Write(Pack& pack, double scale) const {
    for (const uint64_t count : counts) pack.Count(count);
    pack.Number(static_cast<double>(sum) / scale);
  }
};

struct Sum {
  const std::vector<uint8_t>* key = nullptr;
  uint64_t requests = 0;
  HistogramSum duration_us, request_bytes, response_bytes;
  std::array<uint64_t, 6> rest{};

  void Add(const Series& series) {
    requests += series.requests.value();
    duration_us.Add(series.duration_us);
    request_bytes.Add(series.request_bytes);
    response_bytes.Add(series.response_bytes);
    const std::array<const Tally*, 6> tallies = {
        &series.grpc_request_messages, &series.grpc_response_messages, &series.tcp_opened, &series.tcp_closed,
        &series.tcp_sent_bytes,        &series.tcp_received_bytes};
    for (size_t i = 0; i < tallies.size(); ++i) rest[i] += tallies[i]->value();
  }
  void Write(Pack& pack) const {
    pack.Number(static_cast<uint32_t>(key->size()));
    pack.Bytes(key->data(), key->size());
    pack.Count(requests);
    duration_us.Write(pack, kUsPerMs);
    request_bytes.Write(pack, 1);
    response_bytes.Write(pack, 1);
    for (const uint64_t value : rest) pack.Count(value);
  }
};

}  // namespace

void HistogramTally::Add(uint64_t value, uint64_t scale) {
  // Most values are small: going up from the first bound beats halving the interval.
  size_t bucket = 0;
  while (bucket < kBoundHalves.size() && value * 2 > kBoundHalves[bucket] * scale) ++bucket;
  counts_[bucket].Add(1);
  sum_.Add(value);
}

SeriesBook::SeriesBook() : slots_(kSlots) {}

void SeriesBook::Ended(const l7::RequestRecord& record) {
  Series& series = Find(record, SeriesKey::Moment::kEnded);
  if (record.tcp) {
    series.tcp_closed.Add(1);
    series.tcp_received_bytes.Add(record.bytes_received - record.reported_received);
    series.tcp_sent_bytes.Add(record.bytes_sent - record.reported_sent);
    return;
  }
  series.requests.Add(1);
  series.duration_us.Add(record.duration_us, kUsPerMs);
  series.request_bytes.Add(record.bytes_received, 1);
  series.response_bytes.Add(record.bytes_sent, 1);
  if (!record.grpc) return;
  series.grpc_request_messages.Add(record.grpc_request_messages);
  series.grpc_response_messages.Add(record.grpc_response_messages);
}

void SeriesBook::TcpOpened(const l7::RequestRecord& record) {
  Find(record, SeriesKey::Moment::kOpened).tcp_opened.Add(1);
}

void SeriesBook::TcpProgress(const l7::RequestRecord& record, uint64_t received, uint64_t sent) {
  Series& series = Find(record, SeriesKey::Moment::kOpened);
  series.tcp_received_bytes.Add(received);
  series.tcp_sent_bytes.Add(sent);
}

Series& SeriesBook::Find(const l7::RequestRecord& record, SeriesKey::Moment moment) {
  key_.Write(record, moment);
  if (Series* known = Lookup()) return *known;
  if (series_.size() < kMaxSeries) return *Insert();
  overflowed_.Add(1);
  key_.WriteOther(record);
  if (Series* other = Lookup()) return *other;
  return *Insert();
}

Series* SeriesBook::Lookup() {
  const uint64_t hash = key_.Hash();
  for (size_t i = hash & (kSlots - 1);; i = (i + 1) & (kSlots - 1)) {
    const Slot& slot = slots_[i];
    if (slot.series == nullptr) return nullptr;
    if (slot.hash == hash && std::ranges::equal(slot.series->key, key_.bytes())) return slot.series;
  }
}

Series* SeriesBook::Insert() {
  auto series = std::make_unique<Series>();
  series->key.assign(key_.bytes().begin(), key_.bytes().end());
  Series* result = series.get();
  const uint64_t hash = key_.Hash();
  size_t i = hash & (kSlots - 1);
  while (slots_[i].series != nullptr) i = (i + 1) & (kSlots - 1);
  slots_[i] = {hash, result};
  const std::lock_guard lock(mutex_);
  series_.push_back(std::move(series));
  return result;
}

std::vector<const Series*> SeriesBook::All() const {
  const std::lock_guard lock(mutex_);
  std::vector<const Series*> all;
  all.reserve(series_.size());
  for (const auto& series : series_) all.push_back(series.get());
  return all;
}

std::vector<uint8_t> SumSeries(std::span<const SeriesBook* const> books) {
  std::unordered_map<std::string_view, size_t> index;
  std::vector<Sum> sums;
  for (const SeriesBook* book : books) {
    for (const Series* series : book->All()) {
      const std::string_view key(reinterpret_cast<const char*>(series->key.data()), series->key.size());
      const auto [at, fresh] = index.try_emplace(key, sums.size());
      if (fresh) sums.emplace_back().key = &series->key;
      sums[at->second].Add(*series);
    }
  }
  std::vector<uint8_t> bytes;
  Pack pack(bytes);
  for (const Sum& sum : sums) sum.Write(pack);
  return bytes;
}

}  // namespace weft::telemetry
