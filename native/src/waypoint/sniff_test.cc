// Which protocol first bytes are taken for, however they are cut up.
#include "waypoint/sniff.h"

#include <gtest/gtest.h>

#include <string>

#include "waypoint/client_hello.h"

namespace weft::waypoint {
namespace {

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

Sniffed Of(std::string_view text) { return Sniff(Bytes(text)); }

TEST(SniffTest, KnowsHttp1ByAWholeRequestLine) {
  EXPECT_EQ(Of("GET / HTTP/1.1\r\n"), Sniffed::kHttp1);
  EXPECT_EQ(Of("OPTIONS * HTTP/1.0\n"), Sniffed::kHttp1);
  EXPECT_EQ(Of("M-SEARCH /x?y HTTP/1.1\r\nhost: a"), Sniffed::kHttp1);
  EXPECT_EQ(Of("GET / HTTP/1.1"), Sniffed::kMore);
}

TEST(SniffTest, DoesNotTakeCommandsOfOtherProtocolsForHttp) {
  EXPECT_EQ(Of("GET key\r\n"), Sniffed::kOther);                      // Redis, inline
  EXPECT_EQ(Of("get key\r\n"), Sniffed::kOther);                      // memcached
  EXPECT_EQ(Of("*1\r\n$4\r\nPING\r\n"), Sniffed::kOther);             // Redis
  EXPECT_EQ(Of("CONNECT {\"verbose\":false}\r\n"), Sniffed::kOther);  // NATS
  EXPECT_EQ(Of(" / HTTP/1.1\r\n"), Sniffed::kOther);
  EXPECT_EQ(Of(std::string(25, 'A')), Sniffed::kOther);
  EXPECT_EQ(Of(std::string("\0\0\0\x08\x04\xd2\x16\x2f", 8)), Sniffed::kOther);  // PostgreSQL's SSLRequest
}

TEST(SniffTest, KnowsHttp2ByItsWholePreface) {
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  for (size_t n = 1; n < preface.size(); ++n) EXPECT_EQ(Of(preface.substr(0, n)), Sniffed::kMore) << n;
  EXPECT_EQ(Of(preface), Sniffed::kHttp2);
  EXPECT_EQ(Of(preface + "more"), Sniffed::kHttp2);
  EXPECT_EQ(Of("PRI * HTTP/2.0\r\n\r\nXX"), Sniffed::kOther);
  EXPECT_EQ(SniffHttp(Bytes("P")), Sniffed::kMore);
  EXPECT_EQ(SniffHttp(Bytes("PO")), Sniffed::kHttp1);
}

TEST(SniffTest, KnowsTlsByItsFirstRecord) {
  EXPECT_EQ(Of("\x16"), Sniffed::kMore);
  EXPECT_EQ(Of("\x16\x03\x01"), Sniffed::kTls);
  EXPECT_EQ(Of("\x16\x02"), Sniffed::kOther);
}

TEST(SniffTest, AnEndlessRequestLineIsHttp1AtTheBound) {
  const std::string line = "GET /" + std::string(kMaxSniffBytes, 'x');
  EXPECT_EQ(Of(line.substr(0, kMaxSniffBytes - 1)), Sniffed::kMore);
  EXPECT_EQ(Of(line.substr(0, kMaxSniffBytes)), Sniffed::kHttp1);
}

// A ClientHello with one server name, in records of at most `record` bytes.
std::string Hello(const std::string& name, size_t record = 16 * 1024) {
  const auto vector = [](size_t width, const std::string& body) {
    std::string length;
    for (size_t i = width; i-- > 0;) length += static_cast<char>(body.size() >> (8 * i));
    return length + body;
  };
  const std::string other = std::string("\x00\x2b", 2) + vector(2, "\x02\x03\x04");
  const std::string sni = std::string(2, '\0') + vector(2, vector(2, std::string(1, '\0') + vector(2, name)));
  const std::string body = "\x03\x03" + std::string(32, 'r') + vector(1, "id") + vector(2, "\x13\x01") +
                           vector(1, std::string(1, '\0')) + vector(2, other + (name.empty() ? "" : sni));
  const std::string message = "\x01" + vector(3, body);
  std::string wire;
  for (size_t at = 0; at < message.size(); at += record) {
    wire += "\x16\x03\x01" + vector(2, message.substr(at, record));
  }
  return wire;
}

TEST(ClientHelloTest, HasTheServersNameInLowerCase) {
  const ClientHello hello = ParseClientHello(Bytes(Hello("API.Example.com")));
  EXPECT_EQ(hello.outcome, ClientHello::Outcome::kDone);
  EXPECT_EQ(hello.sni, "api.example.com");
}

TEST(ClientHelloTest, EveryPrefixAsksForMoreAndTheRestIsNotLookedAt) {
  for (const size_t record : {size_t{16 * 1024}, size_t{7}, size_t{1}}) {
    const std::string wire = Hello("a.example", record);
    for (size_t n = 0; n < wire.size(); ++n) {
      ASSERT_EQ(ParseClientHello(Bytes(wire.substr(0, n))).outcome, ClientHello::Outcome::kMore) << record << " " << n;
    }
    EXPECT_EQ(ParseClientHello(Bytes(wire + "garbage")).sni, "a.example");
  }
}

TEST(ClientHelloTest, WithoutANameThereIsNone) {
  const ClientHello hello = ParseClientHello(Bytes(Hello("")));
  EXPECT_EQ(hello.outcome, ClientHello::Outcome::kDone);
  EXPECT_EQ(hello.sni, "");
  EXPECT_EQ(ParseClientHello(Bytes(Hello(std::string("a\0b", 3)))).sni, "");
}

TEST(ClientHelloTest, WhatIsNoClientHelloIsNone) {
  EXPECT_EQ(ParseClientHello(Bytes("GET / HTTP/1.1\r\n")).outcome, ClientHello::Outcome::kNone);
  EXPECT_EQ(ParseClientHello(Bytes(std::string("\x16\x03\x01\x00\x00", 5))).outcome, ClientHello::Outcome::kNone);
  EXPECT_EQ(ParseClientHello(Bytes(std::string("\x16\x03\x01\x00\x04\x02\x00\x00\x00", 9))).outcome,
            ClientHello::Outcome::kNone);
  // Longer than anybody's.
  EXPECT_EQ(ParseClientHello(Bytes(std::string("\x16\x03\x01\x40\x00\x01\x01\x00\x00", 9))).outcome,
            ClientHello::Outcome::kNone);
}

}  // namespace
}  // namespace weft::waypoint
