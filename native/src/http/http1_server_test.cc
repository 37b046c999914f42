#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "http/codec.h"
#include "memory_stream.h"

namespace weft::http {
namespace {

using test::MemoryStream;

class ServerTest : public testing::Test, public ServerConnection::Owner, public ServerStream::Handler {
 protected:
  ServerTest() : loop_(std::move(*EpollLoop::Create())), context_(*loop_) { Restart(); }

  void Restart() {
    events_.clear();
    server_.reset();
    auto stream = std::make_unique<MemoryStream>(context_);
    stream_ = stream.get();
    server_ = MakeHttp1Server(context_, std::move(stream), *this, limits_, {});
  }
  ServerStream::Handler* OnRequest(ServerStream& stream, RequestHead& head, bool end) override {
    current_ = &stream;
    std::string text = std::string(head.method) + " " + std::string(head.authority) + " " + std::string(head.path);
    for (const Header& each : head.headers) text += " " + std::string(each.name) + "=" + std::string(each.value);
    events_.push_back(text + (end ? " end" : ""));
    return this;
  }
  void OnBadRequest(uint16_t status, std::string_view detail) override {
    events_.push_back("bad " + std::to_string(status));
    detail_ = detail;
  }
  void OnConnectionDown(StreamEnd, std::string_view) override {}
  void OnBody(std::span<const uint8_t> bytes, bool end) override {
    body_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (end) events_.push_back("body " + std::exchange(body_, {}));
  }
  void OnRequestEnd(const HeaderMap* trailers) override {
    std::string text = "body " + std::exchange(body_, {});
    if (trailers != nullptr) {
      for (const Header& each : *trailers) text += " " + std::string(each.name) + "=" + std::string(each.value);
    }
    events_.push_back(text);
  }
  void OnStreamWritable() override {}
  void OnStreamClosed(StreamError error) override { events_.push_back("closed " + std::to_string(int(error))); }

  void Answer(std::string_view body) {
    Arena arena;
    ResponseHead head(arena);
    head.status = 200;
    head.content_length = body.size();
    current_->SendHead(head, body.empty());
    if (!body.empty()) current_->SendBody({reinterpret_cast<const uint8_t*>(body.data()), body.size()}, true);
  }
  std::string Status(std::string_view request) {
    Restart();
    stream_->Say(request);
    const std::string written = stream_->Written();
    return written.empty() ? "" : written.substr(9, 3);
  }

  std::unique_ptr<EpollLoop> loop_;
  LoopContext context_;
  ServerLimits limits_;
  MemoryStream* stream_ = nullptr;
  std::unique_ptr<ServerConnection> server_;
  ServerStream* current_ = nullptr;
  std::vector<std::string> events_;
  std::string body_, detail_;
};

using Events = std::vector<std::string>;

TEST_F(ServerTest, ReadsARequestAndWritesItsAnswer) {
  stream_->Say("GET /a?b=c HTTP/1.1\r\nHost: x.com:80\r\nX-Thing:  two words \r\n\r\n");
  Answer("hello");
  EXPECT_EQ(events_, (Events{"GET x.com:80 /a?b=c x-thing=two words end", "closed 0"}));
  EXPECT_EQ(stream_->Written(), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
  EXPECT_FALSE(stream_->closed);
}

TEST_F(ServerTest, TakesTheSameInReadsOfAnySize) {
  const std::string text =
      "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5;e=1\r\nhello\r\n6\r\n world\r\n0\r\nX-T: v\r\n\r\n";
  const Events expected{"POST a /x", "body hello world x-t=v"};
  for (size_t cut = 1; cut < text.size(); ++cut) {
    Restart();
    stream_->Say(text.substr(0, cut));
    stream_->Say(text.substr(cut));
    EXPECT_EQ(events_, expected) << cut;
  }
  Restart();
  for (const char c : text) stream_->Say({&c, 1});
  EXPECT_EQ(events_, expected);
}

TEST_F(ServerTest, PipelinedRequestsWaitForTheirTurn) {
  stream_->Say("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(events_, (Events{"GET a /1 end"}));
  EXPECT_TRUE(stream_->paused);
  Answer("1");
  loop_->Post([&] { loop_->Stop(); });
  loop_->Run();
  loop_->Post([&] { loop_->Stop(); });
  EXPECT_EQ(events_, (Events{"GET a /1 end", "closed 0", "GET a /2 end"}));
  Answer("2");
}

TEST_F(ServerTest, RefusesWhatTwoReadersCouldReadDifferently) {
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\n";
  EXPECT_EQ(Status(head + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), "400");
  EXPECT_EQ(Status(head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), "400");
  EXPECT_EQ(Status(head + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"), "400");
  EXPECT_EQ(Status(head + "Content-Length: 1, 1\r\n\r\n"), "400");
  EXPECT_EQ(Status(head + "Content-Length: +1\r\n\r\n"), "400");
  EXPECT_EQ(Status(head + "Content-Length: 0x1\r\n\r\n"), "400");
  EXPECT_EQ(Status(head + "Content-Length: 99999999999999999999\r\n\r\n"), "400");
  EXPECT_EQ(Status(head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), "400");
  EXPECT_EQ(Status(head + "Transfer-Encoding: xchunked\r\n\r\n"), "501");
  EXPECT_EQ(Status(head + "Transfer-Encoding: chunked, identity\r\n\r\n"), "501");
  EXPECT_EQ(Status(head + "Transfer-Encoding : chunked\r\n\r\n"), "400");
  EXPECT_EQ(Status(head + "X: a\r\n b\r\n\r\n"), "400");
  EXPECT_EQ(Status(head + "X: a\nY: b\r\n\r\n"), "400");
  EXPECT_EQ(Status(head + "X: a\rY: b\r\n\r\n"), "400");
  EXPECT_EQ(Status(head + std::string("X: a\0b\r\n\r\n", 11)), "400");
  EXPECT_EQ(Status("GET / HTTP/1.1\n\n"), "400");
  EXPECT_EQ(Status("GET / HTTP/1.1\r\n\r\n"), "400");
  EXPECT_EQ(Status("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), "400");
  EXPECT_EQ(Status("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"), "400");
  EXPECT_EQ(Status("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), "400");
  EXPECT_EQ(Status("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), "505");
  EXPECT_EQ(Status("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), "400");
  EXPECT_EQ(Status(head + "Expect: tea\r\n\r\n"), "417");
  EXPECT_EQ(Status("G@T / HTTP/1.1\r\nHost: a\r\n\r\n"), "400");
  const std::string chunked = head + "Transfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(Status(chunked + "5\nhello\r\n"), "400");
  EXPECT_EQ(Status(chunked + "5\r\nhelloX\r\n"), "400");
  EXPECT_EQ(Status(chunked + "ffffffffffffffffff\r\n"), "400");
  EXPECT_EQ(Status(chunked + "-5\r\n"), "400");
  EXPECT_EQ(Status(chunked + "5 \r\nhello\r\n"), "400");
  EXPECT_TRUE(stream_->closed);
}

TEST_F(ServerTest, BoundsHeads) {
  limits_.max_header_bytes = 1000;
  limits_.max_headers = 5;
  EXPECT_EQ(Status("GET /" + std::string(2000, 'a')), "431");
  EXPECT_EQ(Status("GET / HTTP/1.1\r\nHost: a\r\n1:\r\n2:\r\n3:\r\n4:\r\n5:\r\n\r\n"), "431");
}

TEST_F(ServerTest, FieldsOfTheConnectionStayThere) {
  stream_->Say(
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-mine, te\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: trailers, gzip\r\n"
      "Proxy-Connection: x\r\nX-Kept: 1\r\n\r\n");
  EXPECT_EQ(events_, (Events{"GET a / x-kept=1 te=trailers end"}));
}

TEST_F(ServerTest, AbsoluteTargetsWinOverHost) {
  stream_->Say("GET http://b.com?q HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(events_, (Events{"GET b.com /?q end"}));
}

TEST_F(ServerTest, NothingBehindARefusedUpgradeIsARequest) {
  stream_->Say(
      "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /evil HTTP/1.1\r\nHost: "
      "a\r\n\r\n");
  EXPECT_EQ(events_, (Events{"GET a /ws"}));
  Answer("no");
  EXPECT_EQ(events_, (Events{"GET a /ws", "closed 0"}));
  EXPECT_NE(stream_->Written().find("connection: close"), std::string::npos);
  EXPECT_TRUE(stream_->closed);
}

TEST_F(ServerTest, AnswersToHeadHaveALengthAndNoBody) {
  stream_->Say("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
  Answer("hello");
  EXPECT_EQ(stream_->Written(), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
}

TEST_F(ServerTest, OldClientsGetABodyThatEndsWithTheConnection) {
  stream_->Say("GET / HTTP/1.0\r\n\r\n");
  Arena arena;
  ResponseHead head(arena);
  head.status = 200;
  current_->SendHead(head, false);
  current_->SendBody({reinterpret_cast<const uint8_t*>("abc"), 3}, true);
  EXPECT_EQ(stream_->Written(), "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc");
  EXPECT_TRUE(stream_->closed);
}

TEST_F(ServerTest, ACutAnswerDoesNotLookWhole) {
  stream_->Say("POST / HTTP/1.0\r\nContent-Length: 9\r\n\r\n123");
  Arena arena;
  ResponseHead head(arena);
  head.status = 200;
  current_->SendHead(head, false);
  current_->Reset(StreamError::kReset);
  EXPECT_TRUE(stream_->aborted);
  EXPECT_FALSE(stream_->closed);
}

TEST_F(ServerTest, WhatIsThereOfACutAnswerGoesOutWhereItsFormTells) {
  stream_->Say("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  Arena arena;
  ResponseHead head(arena);
  head.status = 200;
  head.content_length = 9;
  current_->SendHead(head, false);
  current_->Reset(StreamError::kReset);
  EXPECT_TRUE(stream_->closed);
  EXPECT_FALSE(stream_->aborted);
  EXPECT_TRUE(stream_->Written().ends_with("content-length: 9\r\n\r\n"));
}

TEST_F(ServerTest, AnswersAllThatCameBeforeItsClientsEnd) {
  stream_->Say("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
  Answer("1");
  stream_->SayEnd();
  loop_->Post([&] { loop_->Stop(); });
  loop_->Run();
  EXPECT_EQ(events_, (Events{"GET a /1 end", "closed 0", "GET a /2 end"}));
  EXPECT_FALSE(stream_->closed);
  Answer("2");
  EXPECT_TRUE(stream_->Written().ends_with("\r\n\r\n2"));
  EXPECT_TRUE(stream_->closed);
}

TEST_F(ServerTest, DoesNotWaitForTheRestOfARequestBehindTheEnd) {
  stream_->Say("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HT");
  Answer("1");
  stream_->SayEnd();
  loop_->Post([&] { loop_->Stop(); });
  loop_->Run();
  EXPECT_EQ(events_, (Events{"GET a /1 end", "closed 0"}));
  EXPECT_TRUE(stream_->closed);
}

TEST_F(ServerTest, AHeadHasItsTimeFromTheFirstByteOn) {
  limits_.header_ms = 40;
  Restart();
  stream_->Say("GET / HT");
  // A byte in every turn, until the codec has had enough.
  std::function<void()> drip = [&] {
    if (stream_->closed) return loop_->Stop();
    stream_->Say("x");
    loop_->Post(drip);
  };
  loop_->Post(drip);
  loop_->Run();
  EXPECT_EQ(events_, (Events{"bad 408"}));
}

TEST_F(ServerTest, ResumingABodyThatIsOverLetsNothingMoreIn) {
  stream_->Say("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(stream_->paused);
  current_->PauseBody();
  current_->ResumeBody();
  EXPECT_TRUE(stream_->paused);
  Answer("1");
  EXPECT_FALSE(stream_->paused);
}

}  // namespace
}  // namespace weft::http
