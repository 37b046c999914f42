#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "l7/record.h"
#include "telemetry/series_key.h"

namespace weft::telemetry {

// A number that one thread adds to and others read: an ordinary addition for the loop, no torn value for the reader.
class Tally {
 public:
  void Add(uint64_t n) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// Upper bounds of istio_request_duration_milliseconds and the *_bytes histograms, beside +Inf. In halves: 0.5 is one.
inline constexpr std::array<uint64_t, 19> kBoundHalves = {
    1,     2,      10,     20,     50,      100,     200,       500,       1'000,    2'000,
    5'000, 10'000, 20'000, 60'000, 120'000, 600'000, 1'200'000, 3'600'000, 7'200'000};

class HistogramTally {
 public:
  // `value` in parts of which `scale` make one.
  void Add(uint64_t value, uint64_t scale);
  const Tally& count(size_t bucket) const { return counts_[bucket]; }
  uint64_t sum() const { return sum_.value(); }

 private:
  std::array<Tally, kBoundHalves.size() + 1> counts_;
  Tally sum_;
};

struct Series {
  std::vector<uint8_t> key;
  Tally requests;
  HistogramTally duration_us;
  HistogramTally request_bytes;
  HistogramTally response_bytes;
  Tally grpc_request_messages;
  Tally grpc_response_messages;
  Tally tcp_opened;
  Tally tcp_closed;
  Tally tcp_sent_bytes;
  Tally tcp_received_bytes;
};

// The counters of one loop, one series per tuple of labels. A known tuple costs no allocation and no lock.
//
// Scrapes read while the loop goes on: counters are relaxed atomics with one writer. The other way, to post a request
// for a copy to each loop, would make a scrape wait for the slowest turn of the slowest loop and cost that loop an
// allocation of everything; the price of ours is that count and sum of a histogram may be one request apart.
class SeriesBook {
 public:
  // Tuples of labels per loop. 1.5 KB each; a scrape shows some 70 lines per tuple of HTTP. More tuples than this come
  // from names that somebody makes up as he goes, and nothing that graphs them would survive the page.
  static constexpr size_t kMaxSeries = 4'096;

  SeriesBook();
  SeriesBook(const SeriesBook&) = delete;
  SeriesBook& operator=(const SeriesBook&) = delete;

  // Loop thread.
  void Ended(const l7::RequestRecord& record);
  void TcpOpened(const l7::RequestRecord& record);
  void TcpProgress(const l7::RequestRecord& record, uint64_t received, uint64_t sent);

  // Any thread: the series of now. They live as long as the book.
  std::vector<const Series*> All() const;
  // Any thread: how often a record went into the series "other" because there was no room.
  uint64_t overflowed() const { return overflowed_.value(); }

 private:
  struct Slot {
    uint64_t hash = 0;
    Series* series = nullptr;
  };
  Series& Find(const l7::RequestRecord& record, SeriesKey::Moment moment);
  Series* Lookup();
  Series* Insert();

  SeriesKey key_;
  std::vector<Slot> slots_;  // open addressing, at most half full
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Series>> series_;  // grown under mutex_ by the loop alone
  Tally overflowed_;
};

// All series of the books, those of the same labels added up, in the form that series.ts reads: for each u32 bytes of
// the key, the key, then doubles: requests; three histograms (20 counts, sum: milliseconds, bytes, bytes); messages in,
// out; TCP opened, closed, sent, received.
std::vector<uint8_t> SumSeries(std::span<const SeriesBook* const> books);

}  // namespace weft::telemetry
