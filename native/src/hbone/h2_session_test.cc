// H2Session fed with bytes: what honest peers get, and what abusive ones get.
#include "hbone/h2_session.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "h2_frames.h"

namespace weft {
namespace {

using namespace h2;
using test::Frame;
using test::Preface;
using test::Setting;
using test::U32;

// A server side with an application that answers 200 and keeps what it gets.
class Server final : public H2Session::Output, public StreamHandler {
 public:
  explicit Server(H2Config config = {.server = true}) : session(config, *this) { session.Start(); }

  bool Feed(const std::string& bytes) {
    return session.Receive({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, now_ms);
  }
  std::string Connect(uint32_t stream, uint8_t flags = kEndHeaders) {
    const HeaderField fields[] = {{":method", "CONNECT"}, {":authority", "10.0.0.1:80"}};
    const std::vector<uint8_t> block = encoder.Encode(fields);
    return Frame(kHeaders, flags, stream, std::string(block.begin(), block.end()));
  }
  bool Sent(uint8_t type, const std::string& payload) const {
    return out.find(Frame(type, 0, 0, payload).substr(3)) != std::string::npos;
  }

  void OnFrames(std::span<const uint8_t> bytes) override { out.append(bytes.begin(), bytes.end()); }
  size_t SendRoom() override { return room; }
  void OnRequest(H2Stream& opened, HeaderBlock headers, bool) override {
    ++requests;
    stream = &opened;
    last = std::move(headers);
    opened.set_handler(this);
    if (!answers) return;
    const HeaderField fields[] = {{":status", "200"}};
    session.Answer(opened, fields, false);
  }
  void OnCapacityChanged() override {}
  void OnPingAck(uint64_t) override {}
  void OnStreamHeaders(const HeaderBlock&, bool) override {}
  void OnStreamData(std::span<const uint8_t> bytes) override { data.append(bytes.begin(), bytes.end()); }
  void OnStreamEnd() override { ended = true; }
  void OnStreamWritable() override { ++writable; }
  void OnStreamClosed(uint32_t code, bool) override {
    stream = nullptr;
    closed_code = code;
  }

  HpackEncoder encoder;
  std::string out;
  std::string data;
  HeaderBlock last;
  H2Stream* stream = nullptr;
  size_t room = 1 << 20;
  uint64_t now_ms = 1000;
  int requests = 0;
  int writable = 0;
  bool answers = true;
  bool ended = false;
  std::optional<uint32_t> closed_code;
  H2Session session;
};

TEST(H2SessionTest, TakesAConnectAndItsDataInPiecesOfOneByte) {
  Server server;
  const std::string bytes =
      Preface() + server.Connect(1) + Frame(kData, 0, 1, "hello") + Frame(kData, kEndStream, 1, " world");
  for (const char byte : bytes) ASSERT_TRUE(server.Feed(std::string(1, byte)));
  EXPECT_EQ(server.last.method, "CONNECT");
  EXPECT_EQ(server.last.authority, "10.0.0.1:80");
  EXPECT_EQ(server.data, "hello world");
  EXPECT_TRUE(server.ended);
}

TEST(H2SessionTest, StripsPadding) {
  Server server;
  const std::string padded = std::string(1, '\3') + "abc" + std::string(3, '\0');
  ASSERT_TRUE(server.Feed(Preface() + server.Connect(1)));
  for (const char byte : Frame(kData, kPadded, 1, padded)) ASSERT_TRUE(server.Feed(std::string(1, byte)));
  EXPECT_EQ(server.data, "abc");
}

TEST(H2SessionTest, PaddingLongerThanItsFrameIsAnError) {
  Server server;
  ASSERT_TRUE(server.Feed(Preface() + server.Connect(1)));
  EXPECT_FALSE(server.Feed(Frame(kData, kPadded, 1, std::string(1, '\7') + "abc")));
}

TEST(H2SessionTest, ANonHttp2PeerIsAHandshakeFailure) {
  Server server;
  EXPECT_FALSE(server.Feed("GET / HTTP/1.1\r\n"));
  EXPECT_EQ(server.session.failure(), WEFT_R_H2_FAILURE);
}

TEST(H2SessionTest, TheFirstFrameMustBeSettings) {
  Server server;
  EXPECT_FALSE(server.Feed(std::string(kPreface, kPrefaceBytes) + Frame(kPing, 0, 0, "12345678")));
  EXPECT_EQ(server.session.failure(), WEFT_R_H2_FAILURE);
}

TEST(H2SessionTest, DataBeyondTheStreamsWindowResetsTheStreamOnly) {
  Server server(H2Config{.server = true, .base_window = 65535});
  ASSERT_TRUE(server.Feed(Preface() + server.Connect(1)));
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(server.Feed(Frame(kData, 0, 1, std::string(16384, 'x'))));
  EXPECT_EQ(server.closed_code, kFlowControlError);
}

TEST(H2SessionTest, AStalledStreamGetsNoCreditAndTheConnectionDoes) {
  Server server(H2Config{.server = true, .base_window = 65535, .connection_window = 128 * 1024});
  ASSERT_TRUE(server.Feed(Preface() + server.Connect(1)));
  server.out.clear();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(server.Feed(Frame(kData, 0, 1, std::string(16384, 'x'))));
  EXPECT_EQ(server.out, Frame(kWindowUpdate, 0, 0, U32(32768)));
}

TEST(H2SessionTest, AStreamThatKeepsUpIsGrantedMoreWithinTheBudget) {
  Server server(H2Config{.server = true, .base_window = 65536, .max_window = 1 << 20, .connection_window = 128 * 1024});
  ASSERT_TRUE(server.Feed(Preface() + server.Connect(1)));
  const auto grant = [&] {
    server.out.clear();
    std::string all;
    while (server.out.find(Frame(kWindowUpdate, 0, 1, "").substr(3, 6)) == std::string::npos) {
      EXPECT_TRUE(server.Feed(Frame(kData, 0, 1, std::string(16384, 'x'))));
      server.session.Consume(*server.stream, 16384);
    }
    const size_t at = server.out.find(Frame(kWindowUpdate, 0, 1, "").substr(3, 6));
    return ReadU32(reinterpret_cast<const uint8_t*>(server.out.data()) + at + 6);
  };
  EXPECT_EQ(grant(), 32768U + 65536U);  // window 64 KiB -> 128 KiB
  EXPECT_EQ(grant(), 65536U + 65536U);  // the rest of the connection's 128 KiB of growth
  EXPECT_EQ(grant(), 98304U);           // nothing left to grow by
}

TEST(H2SessionTest, SendingWaitsForTheStreamsWindow) {
  Server server;
  ASSERT_TRUE(
      server.Feed(std::string(kPreface, kPrefaceBytes) + Frame(kSettings, 0, 0, Setting(kInitialWindowSize, 10))));
  ASSERT_TRUE(server.Feed(server.Connect(1)));
  ASSERT_EQ(server.session.SendBudget(*server.stream), 10U);
  std::vector<uint8_t> frame(kFrameHeaderBytes + 10, 'y');
  server.session.SendData(*server.stream, frame.data(), 10, 10);
  EXPECT_EQ(server.session.SendBudget(*server.stream), 0U);
  server.session.ResumeBlocked();
  EXPECT_EQ(server.writable, 0);
  ASSERT_TRUE(server.Feed(Frame(kWindowUpdate, 0, 1, U32(5))));
  server.session.ResumeBlocked();
  EXPECT_EQ(server.writable, 1);
  EXPECT_EQ(server.session.SendBudget(*server.stream), 5U);
}

TEST(H2SessionTest, AResetOfAStreamTellsItsUser) {
  Server server;
  ASSERT_TRUE(server.Feed(Preface() + server.Connect(1)));
  ASSERT_TRUE(server.Feed(Frame(kRstStream, 0, 1, U32(kCancel))));
  EXPECT_EQ(server.closed_code, kCancel);
  EXPECT_EQ(server.session.open_streams(), 0U);
}

TEST(H2SessionTest, MoreStreamsThanAdvertisedAreRefused) {
  Server server(H2Config{.server = true, .max_streams = 2});
  ASSERT_TRUE(server.Feed(Preface()));
  for (uint32_t id = 1; id <= 7; id += 2) ASSERT_TRUE(server.Feed(server.Connect(id)));
  EXPECT_EQ(server.requests, 2);
  EXPECT_EQ(server.session.open_streams(), 2U);
}

// ---- abuse --------------------------------------------------------------------------------------------------------

void ExpectCalm(Server& server) {
  EXPECT_EQ(server.session.failure(), WEFT_R_LIMIT_EXCEEDED) << server.session.failure_detail();
  EXPECT_NE(server.out.find(U32(kEnhanceYourCalm)), std::string::npos);
}

TEST(H2SessionTest, RapidResetEndsTheConnection) {
  Server server;
  server.answers = false;
  ASSERT_TRUE(server.Feed(Preface()));
  uint32_t id = 1;
  while (server.Feed(server.Connect(id) + Frame(kRstStream, 0, id, U32(kCancel)))) {
    ASSERT_LT(id, 10'000U);
    id += 2;
  }
  EXPECT_LE(id / 2, H2Abuse::kResetBurst + 1);
  ExpectCalm(server);
}

TEST(H2SessionTest, ResetsOfAnsweredStreamsAreNoAttack) {
  Server server;
  ASSERT_TRUE(server.Feed(Preface()));
  for (uint32_t id = 1; id < 4000; id += 2) {
    ASSERT_TRUE(server.Feed(server.Connect(id) + Frame(kRstStream, 0, id, U32(kCancel))));
  }
}

TEST(H2SessionTest, MakingUsResetStreamsEndsTheConnection) {
  Server server;
  ASSERT_TRUE(server.Feed(Preface()));
  uint32_t id = 1;
  // A zero increment is a stream error (CVE-2025-8671).
  while (server.Feed(server.Connect(id) + Frame(kWindowUpdate, 0, id, U32(0)))) {
    ASSERT_LT(id, 10'000U);
    id += 2;
  }
  ExpectCalm(server);
}

TEST(H2SessionTest, DataAfterEndStreamResetsTheStream) {
  Server server;
  ASSERT_TRUE(server.Feed(Preface() + server.Connect(1) + Frame(kData, kEndStream, 1, "")));
  ASSERT_TRUE(server.Feed(Frame(kData, 0, 1, "more")));
  EXPECT_EQ(server.closed_code, kStreamClosed);
  EXPECT_EQ(server.data, "");
}

TEST(H2SessionTest, FloodsOfControlFramesEndTheConnection) {
  const std::string floods[] = {
      Frame(kPing, 0, 0, "12345678"), Frame(kSettings, 0, 0, Setting(kMaxFrameSize, 16384)),
      Frame(kSettings, kAck, 0, ""),  Frame(kPriority, 0, 3, "12345"),
      Frame(0x55, 0, 0, "unknown"),   Frame(kData, 0, 1, ""),
  };
  for (const std::string& flood : floods) {
    Server server;
    ASSERT_TRUE(server.Feed(Preface() + server.Connect(1)));
    int n = 0;
    while (server.Feed(flood)) ASSERT_LT(++n, 10'000);
    ExpectCalm(server);
  }
}

TEST(H2SessionTest, KeepaliveAtAnHonestPaceIsNoFlood) {
  Server server;
  ASSERT_TRUE(server.Feed(Preface()));
  for (int i = 0; i < 5000; ++i) {
    server.now_ms += 20;
    ASSERT_TRUE(server.Feed(Frame(kPing, 0, 0, "12345678")));
  }
}

TEST(H2SessionTest, ContinuationFloodEndsTheConnection) {
  Server server;
  ASSERT_TRUE(server.Feed(Preface() + server.Connect(1, 0)));
  int n = 0;
  while (server.Feed(Frame(kContinuation, 0, 1, ""))) ASSERT_LT(++n, 100);
  ExpectCalm(server);
}

TEST(H2SessionTest, OversizedHeadersEndTheConnection) {
  Server server(H2Config{.server = true, .max_header_list = 4096});
  HpackEncoder encoder;
  const std::string big(5000, 'a');
  const HeaderField fields[] = {{":method", "CONNECT"}, {":authority", "a:1"}, {"x", big}};
  const std::vector<uint8_t> block = encoder.Encode(fields);
  EXPECT_FALSE(server.Feed(Preface() + Frame(kHeaders, kEndHeaders, 1, std::string(block.begin(), block.end()))));
  ExpectCalm(server);
  EXPECT_EQ(server.requests, 0);
}

TEST(H2SessionTest, AnHpackBombEndsTheConnection) {
  Server server(H2Config{.server = true, .max_header_list = 64 * 1024});
  HpackEncoder encoder;
  const std::string big(3000, 'a');
  const HeaderField fields[] = {{":method", "CONNECT"}, {":authority", "a:1"}, {"x", big}};
  const std::vector<uint8_t> block = encoder.Encode(fields);
  ASSERT_TRUE(server.Feed(Preface() + Frame(kHeaders, kEndHeaders, 1, std::string(block.begin(), block.end()))));
  // The big field is in the table now: one byte each names 3 KB.
  EXPECT_FALSE(server.Feed(Frame(kHeaders, kEndHeaders, 3, std::string(16000, '\xbe'))));
  ExpectCalm(server);
}

TEST(H2SessionTest, GarbageInHpackIsACompressionError) {
  Server server;
  EXPECT_FALSE(server.Feed(Preface() + Frame(kHeaders, kEndHeaders, 1, std::string(10, '\xff'))));
  EXPECT_NE(server.out.find(U32(kCompressionError)), std::string::npos);
}

TEST(H2SessionTest, WindowOverflowIsAnError) {
  Server server;
  ASSERT_TRUE(server.Feed(Preface() + Frame(kWindowUpdate, 0, 0, U32(0x7fff0000))));
  EXPECT_FALSE(server.Feed(Frame(kWindowUpdate, 0, 0, U32(0x7fff0000))));
}

TEST(H2SessionTest, FramesOnStreamsThatNeverWereAreErrors) {
  const std::string frames[] = {
      Frame(kData, 0, 5, "x"),
      Frame(kRstStream, 0, 5, U32(kCancel)),
      Frame(kWindowUpdate, 0, 5, U32(1)),
      Frame(kHeaders, kEndHeaders, 2, ""),
      Frame(kPushPromise, 0, 1, U32(2)),
      Frame(kContinuation, 0, 1, ""),
      Frame(kPing, 0, 0, "short"),
      Frame(kPing, 0, 0, "much too long"),
      Frame(kGoAway, 0, 0, "short"),
      Frame(kSettings, 0, 0, "12345"),
      Frame(kWindowUpdate, 0, 0, U32(0)),
      Frame(kRstStream, 0, 1, "12345"),
  };
  for (const std::string& frame : frames) {
    Server server;
    ASSERT_TRUE(server.Feed(Preface()));
    EXPECT_FALSE(server.Feed(frame));
    EXPECT_TRUE(server.session.failed());
  }
}

TEST(H2SessionTest, TooLargeFramesAreRefusedBeforeTheirPayload) {
  Server server;
  ASSERT_TRUE(server.Feed(Preface()));
  EXPECT_FALSE(server.Feed(Frame(kSettings, 0, 0, "").replace(0, 3, std::string("\x0f\xff\xff"))));
  ExpectCalm(server);
}

TEST(H2SessionTest, ARequestWithUpperCaseOrDoubledFieldsIsMarkedMalformed) {
  const std::vector<std::vector<HeaderField>> bad = {
      {{":method", "CONNECT"}, {":method", "CONNECT"}, {":authority", "a:1"}},
      {{":method", "CONNECT"}, {":authority", "a:1"}, {"Upper", "x"}},
      {{":method", "CONNECT"}, {"a", "b"}, {":authority", "a:1"}},
      {{":method", "CONNECT"}, {":authority", "a:1"}, {"connection", "close"}},
      {{":method", "CONNECT"}, {":unknown", "x"}, {":authority", "a:1"}},
  };
  for (const auto& fields : bad) {
    Server server;
    const std::vector<uint8_t> block = server.encoder.Encode(fields);
    ASSERT_TRUE(server.Feed(Preface() + Frame(kHeaders, kEndHeaders, 1, std::string(block.begin(), block.end()))));
    EXPECT_EQ(server.requests, 1);
    EXPECT_TRUE(server.last.malformed);
  }
}

}  // namespace
}  // namespace weft
