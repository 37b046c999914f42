#include "telemetry/series_book.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "telemetry/hex.h"
#include "telemetry/test_record.h"

namespace weft::telemetry {
namespace {

std::string Golden(const std::string& name) {
  std::ifstream file(std::string(WEFT_GOLDEN) + "/" + name);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::erase(text, '\n');
  return text;
}

std::string Sums(std::initializer_list<const SeriesBook*> books) {
  const std::vector<uint8_t> bytes = SumSeries(std::span(books.begin(), books.size()));
  std::string text(bytes.size() * 2, '0');
  WriteHex(bytes, text.data());
  return text;
}

TEST(SeriesBookTest, RequestsOfTheSameLabelsShareASeries) {
  SeriesBook book;
  TestRequest request;
  for (int i = 0; i < 3; ++i) book.Ended(request.record);
  request.record.status = 200;
  book.Ended(request.record);
  ASSERT_EQ(book.All().size(), 2u);
  EXPECT_EQ(book.All()[0]->requests.value(), 3u);
  EXPECT_EQ(book.All()[0]->grpc_response_messages.value(), 9u);
  EXPECT_EQ(book.All()[0]->duration_us.sum(), 3u * 12'345);
  EXPECT_EQ(book.All()[1]->requests.value(), 1u);
}

TEST(SeriesBookTest, LoopsAreSummedUpAsTypeScriptExpectsIt) {
  SeriesBook one, two;
  const TestRequest request;
  one.Ended(request.record);
  two.Ended(request.record);
  EXPECT_EQ(Sums({&one, &two}), Golden("series.hex"));
}

TEST(SeriesBookTest, BucketsTakeTheirUpperBound) {
  HistogramTally tally;
  for (const uint64_t us : {0, 500, 501, 1'000, 1'001, 5'000}) tally.Add(us, 1'000);
  EXPECT_EQ(tally.count(0).value(), 2u);
  EXPECT_EQ(tally.count(1).value(), 2u);
  EXPECT_EQ(tally.count(2).value(), 2u);
  HistogramTally bytes;
  bytes.Add(1, 1);
  bytes.Add(3'600'000, 1);
  bytes.Add(3'600'001, 1);
  EXPECT_EQ(bytes.count(1).value(), 1u);
  EXPECT_EQ(bytes.count(18).value(), 1u);
  EXPECT_EQ(bytes.count(19).value(), 1u);
}

TEST(SeriesBookTest, WhatThereIsNoRoomForIsCountedAsOther) {
  SeriesBook book;
  TestRequest request;
  constexpr size_t kMore = 10;
  for (size_t i = 0; i < SeriesBook::kMaxSeries + kMore; ++i) {
    request.endpoint->facts.name = std::to_string(i);
    book.Ended(request.record);
  }
  EXPECT_EQ(book.All().size(), SeriesBook::kMaxSeries + 1);
  EXPECT_EQ(book.All().back()->requests.value(), kMore);
  EXPECT_EQ(book.overflowed(), kMore);
}

TEST(SeriesBookTest, LongTcpConnectionsShowWhileTheyLast) {
  SeriesBook book;
  TestRequest request;
  request.record.tcp = true;
  request.record.flags = {};
  request.record.status = 0;
  request.record.grpc_status = -1;
  book.TcpOpened(request.record);
  book.TcpProgress(request.record, 100, 200);
  request.record.reported_received = 100;
  request.record.reported_sent = 200;
  request.record.bytes_received = 150;
  request.record.bytes_sent = 250;
  book.Ended(request.record);
  ASSERT_EQ(book.All().size(), 1u);
  EXPECT_EQ(book.All()[0]->tcp_opened.value(), 1u);
  EXPECT_EQ(book.All()[0]->tcp_closed.value(), 1u);
  EXPECT_EQ(book.All()[0]->tcp_received_bytes.value(), 150u);
  EXPECT_EQ(book.All()[0]->tcp_sent_bytes.value(), 250u);
}

TEST(SeriesBookTest, AScrapeMayComeAtAnyTime) {
  SeriesBook book;
  constexpr int kRequests = 20'000;
  std::thread loop([&book] {
    TestRequest request;
    for (int i = 0; i < kRequests; ++i) {
      request.record.status = static_cast<uint16_t>(200 + i % 100);
      book.Ended(request.record);
    }
  });
  uint64_t last = 0;
  while (last < kRequests) {
    uint64_t now = 0;
    for (const Series* series : book.All()) now += series->requests.value();
    EXPECT_GE(now, last);
    last = now;
  }
  loop.join();
}

}  // namespace
}  // namespace weft::telemetry
